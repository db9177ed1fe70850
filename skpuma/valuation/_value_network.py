"""The data value estimator of DVRL: a small network and its optimiser, in numpy."""

import math

import numpy as np
from scipy import sparse

# Adam's decay rates and the guard of its denominator (Kingma and Ba, 2015).
FIRST, SECOND, GUARD = 0.9, 0.999, 1e-8
SMALL = 0.01
# Slope of a rectifier below zero. With 0, as in the paper, units that no row reaches
# stay so: on digits half of the rows reached none of the last layer, and tied.
LEAK = np.float32(0.01)


class ValueNetwork:
    """h(x, y, m): the logit with which a row is selected.

    As in the paper's code: `n_layers` - 3 layers of `hidden_dim` units after a first
    one see (x, y), one of `comb_dim` units follows; its outputs and the marginal m go
    through `comb_dim` more units into one logit. All units are rectified, with a slope
    of 0.01 below zero where the paper has 0. Weights are drawn uniformly as Glorot and
    Bengio do, biases start at zero, all in single precision. The last weights start 100
    times smaller, so that every row starts with a probability of nearly one half: what
    the network says of a row is then learnt, and not left over from its draw.

    Parameters
    ----------
    n_inputs, n_marginal : int
        Columns of (x, y), and of m.
    rng : RandomState
    hidden_dim, comb_dim, n_layers : int
    learning_rate : float
        Of Adam.
    """

    def __init__(
        self,
        n_inputs,
        n_marginal,
        rng,
        *,
        hidden_dim=100,
        comb_dim=10,
        n_layers=5,
        learning_rate=0.01,
    ):
        sizes = [n_inputs] + [hidden_dim] * (n_layers - 2) + [comb_dim]
        shapes = list(zip(sizes, sizes[1:], strict=False))
        shapes += [(comb_dim + n_marginal, comb_dim), (comb_dim, 1)]
        self.joint = len(shapes) - 2  # the layer that sees m
        self.learning_rate = learning_rate
        # One array for all parameters, since a step of Adam is many small calls.
        self._places = places_of([*shapes, *((b,) for _, b in shapes)])
        self._put(np.zeros(self._places[-1][0].stop, np.float32))
        for weight in self.weights:
            weight[...] = _glorot(weight.shape, rng)
        self.weights[-1] *= np.float32(SMALL)
        self._n_steps = 0
        self._first = np.zeros_like(self.parameters)
        self._second = np.zeros_like(self.parameters)

    def logits(self, inputs, marginal):
        """Logits (n,) in float64.

        Parameters
        ----------
        inputs : ndarray or CSR (n, n_inputs), float32
        marginal : ndarray (n, n_marginal), float32
        """
        return self.forward(inputs, marginal)[-1][:, 0].astype(np.float64)

    def forward(self, inputs, marginal):
        """What every layer sees, and the logits (n, 1)."""
        outputs = [inputs]
        for layer, (weight, bias) in enumerate(self._layers()):
            if layer == self.joint:
                outputs[-1] = np.concatenate([outputs[-1], marginal], axis=1)
            out = outputs[-1] @ weight
            out += bias
            if layer < len(self.weights) - 1:
                np.maximum(out, LEAK * out, out=out)
            outputs.append(out)
        return outputs

    def gradient(self, outputs, by_logit):
        """Gradient (n_parameters,) of ``by_logit @ logits``, until the next call.

        Parameters
        ----------
        outputs : list of ndarray
            As `forward` returns them.
        by_logit : ndarray (n,)
        """
        by_weight, by_bias = self._by_weight, self._by_bias
        back = by_logit.astype(np.float32)[:, None]
        for layer in reversed(range(len(self.weights))):
            seen = outputs[layer]
            if sparse.issparse(seen):
                by_weight[layer][...] = seen.T @ back
            else:
                np.matmul(seen.T, back, out=by_weight[layer])
            back.sum(axis=0, out=by_bias[layer])
            if layer:
                back = back @ self.weights[layer].T
                if layer == self.joint:
                    width = self.weights[layer - 1].shape[1]
                    back, seen = back[:, :width], seen[:, :width]
                # The sign of what left a unit is that of what it was given.
                back *= np.maximum(seen > 0, LEAK)
        return self._gradient

    def step(self, gradient):
        """One step of Adam down a gradient; an interrupt leaves a whole network."""
        steps = self._n_steps + 1
        rate = self.learning_rate * np.sqrt(1 - SECOND**steps) / (1 - FIRST**steps)
        move = (1 - FIRST) * gradient
        self._first *= FIRST
        self._first += move
        np.square(gradient, out=move)
        move *= 1 - SECOND
        self._second *= SECOND
        self._second += move
        np.sqrt(self._second, out=move)
        move += np.float32(GUARD)
        np.divide(self._first, move, out=move)
        move *= np.float32(rate)
        self.parameters -= move
        self._n_steps = steps

    def copy(self):
        """The same network without an optimiser."""
        network = object.__new__(ValueNetwork)
        network.joint, network._places = self.joint, self._places
        network._put(self.parameters.copy())
        return network

    def approach(self, other, share):
        """Move to ``(1 - share) self + share other``; an interrupt leaves it whole."""
        move = other.parameters - self.parameters
        move *= np.float32(share)
        self.parameters += move

    def __setstate__(self, state):
        # Pickle makes copies of views.
        vars(self).update(state)
        self._put(self.parameters)

    def _layers(self):
        return zip(self.weights, self.biases, strict=True)

    def _put(self, parameters):
        """Take all parameters (n_parameters,): the weights, then the biases."""
        self.parameters = parameters
        self.weights, self.biases = split(parameters, self._places)
        self._gradient = np.zeros_like(parameters)
        self._by_weight, self._by_bias = split(self._gradient, self._places)


def places_of(shapes):
    """Slices of one flat array for arrays of these shapes, with the shapes."""
    stops = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    slices = [slice(a, b) for a, b in zip([0, *stops[:-1]], stops, strict=True)]
    return list(zip(slices, shapes, strict=True))


def split(flat, places):
    """Views of all weights and of all biases in an array of all parameters."""
    parts = [flat[place].reshape(shape) for place, shape in places]
    half = len(parts) // 2
    return parts[:half], parts[half:]


def _glorot(shape, rng):
    bound = np.sqrt(6.0 / sum(shape))
    return rng.uniform(-bound, bound, shape).astype(np.float32)
