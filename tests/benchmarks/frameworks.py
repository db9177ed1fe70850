"""psi of a workload by other libraries, each as its users would ask for it.

`prepare` makes the tensors and the module, `run` does everything after that: one
solve for the mean loss of the validation rows, and its product with the gradient of
every training row. Batches are handed over ready made, so that no loader is timed.
Iterative solvers stop at the relative residual `RESIDUAL` of the workloads.
"""

from importlib import import_module
from importlib.util import find_spec

import numpy as np

from tests.benchmarks.workloads import RESIDUAL, criterion_gradient

# Doubles of per-row gradients that may be held at once, and of one intermediate of a
# Hessian, which torch holds for all columns of it together.
GRADIENT_ENTRIES, HESSIAN_ENTRIES = 2**26, 2**24
MAX_ITER = 1000


class Peer:
    """One way to ask one library.

    Attributes
    ----------
    library, module : str
        Its name, and what it is imported as.
    name : str
        Library and setting.
    curvature : str
        Which matrix of a network it solves with.
    single : bool
        Whether rows and parameters are in float32.
    only : tuple of str
        Workloads that it can do in a few minutes; what needs more memory than
        `memory.limit` allows fails with its reason.
    slow : bool
        Whether a quick run leaves it out.
    """

    library = module = name = ""
    curvature = "hessian"
    single = False
    only = ("W1", "W2", "W3", "W4", "W5")
    slow = False

    @classmethod
    def installed(cls):
        return find_spec(cls.module) is not None

    def prepare(self, workload):
        """Import the library and make what it works on."""
        import_module(self.module)
        self.workload = workload

    def run(self):
        """psi (n,)."""
        raise NotImplementedError


class TorchPeer(Peer):
    """Tensors, module and loss for libraries that work on torch."""

    batch_rows = 10_000

    def prepare(self, workload):
        super().prepare(workload)
        torch = self.torch = import_module("torch")
        nn = torch.nn
        self.dtype = torch.float32 if self.single else torch.float64
        layers = []
        for W, b in workload.layers:
            linear = nn.Linear(*W.shape, dtype=self.dtype)
            with torch.no_grad():
                linear.weight.copy_(torch.as_tensor(W.T.copy()))
                linear.bias.copy_(torch.as_tensor(b))
            layers += [linear, nn.ReLU()]
        self.net = nn.Sequential(*layers[:-1])
        self.X, self.y = self._tensors(workload.X, workload.y)
        self.X_val, self.y_val = self._tensors(workload.X_val, workload.y_val)
        n, p = len(self.y), workload.n_parameters
        self.row_blocks = self._batches(min(self.batch_rows, GRADIENT_ENTRIES // p))
        self.batches = self._batches(min(n, self.batch_rows))
        self.gradient_norm = float(np.linalg.norm(criterion_gradient(workload)))

    def _tensors(self, X, y):
        torch = self.torch
        if self.workload.kind == "multinomial":
            # torch indexes classes by no smaller integers.
            return (
                torch.as_tensor(X, dtype=self.dtype),
                torch.as_tensor(y, dtype=torch.int64),
            )
        return (
            torch.as_tensor(X, dtype=self.dtype),
            torch.as_tensor(y[:, None], dtype=self.dtype),
        )

    def _batches(self, size):
        n = len(self.y)
        return [(self.X[a : a + size], self.y[a : a + size]) for a in range(0, n, size)]

    def loader(self, batches):
        """A loader that hands over these batches."""
        return self.torch.utils.data.DataLoader(batches, batch_size=None)

    def loss(self, z, y):
        """The mean loss of outputs (..., k)."""
        F = self.torch.nn.functional
        z, y = z.reshape(-1, z.shape[-1]), y.reshape(-1, *y.shape[y.ndim - 1 :])
        if self.workload.kind == "multinomial":
            return F.cross_entropy(z, y.reshape(-1))
        if self.workload.kind == "binary":
            return F.binary_cross_entropy_with_logits(z, y)
        return 0.5 * F.mse_loss(z, y)


class PyDVL(TorchPeer):
    library, module = "pyDVL", "pydvl"

    def _model(self, influence):
        raise NotImplementedError

    def run(self):
        model = self._model(import_module("pydvl.influence.torch"))
        model = model.fit(self.loader(self.batches))
        # The validation rows together are one sample: their mean loss is one column.
        factor = model.influence_factors(self.X_val[None], self.y_val[None])
        parts = [
            model.influences_from_factors(factor, x, y) for x, y in self.row_blocks
        ]
        return self.torch.cat(parts, dim=1)[0].detach().numpy()


class PyDVLDirect(PyDVL):
    name = "pyDVL Direct"
    only = ("W1", "W2", "W3", "W5")

    def prepare(self, workload):
        super().prepare(workload)
        columns = workload.n_parameters * workload.n_outputs
        self.batches = self._batches(min(self.batch_rows, HESSIAN_ENTRIES // columns))

    def _model(self, influence):
        return influence.DirectInfluence(
            self.net, self.loss, regularization=self.workload.damping
        )


class PyDVLDirectSingle(PyDVLDirect):
    name, single, slow = "pyDVL Direct, float32", True, True


class PyDVLCG(PyDVL):
    name = "pyDVL CG"

    def _model(self, influence):
        # It stops at a residual of atol^2, whatever its documentation says.
        return influence.CgInfluence(
            self.net,
            self.loss,
            regularization=self.workload.damping,
            rtol=0.0,
            atol=float(np.sqrt(RESIDUAL * self.gradient_norm)),
            maxiter=MAX_ITER,
        )


class PyDVLCGSingle(PyDVLCG):
    name, single = "pyDVL CG, float32", True


class Dattri(TorchPeer):
    library, module = "dattri", "dattri"

    def _attributor(self, module, task):
        raise NotImplementedError

    def run(self):
        task = import_module("dattri.task").AttributionTask(
            loss_func=self._functional_loss,
            model=self.net,
            checkpoints=self.net.state_dict(),
            target_func=self._functional_loss,
        )
        module = import_module("dattri.algorithm.influence_function")
        attributor = self._attributor(module, task)
        # Its scores are right for a single batch of all rows only.
        attributor.cache(self.loader([(self.X, self.y)]))
        val = _Sized([(self.X_val[None], self.y_val[None])])
        train = self._batches(GRADIENT_ENTRIES // self.workload.n_parameters)
        scores = attributor.attribute(_Sized(train), val)
        return scores[:, 0].detach().numpy()

    def _functional_loss(self, params, batch):
        x, y = batch
        return self.loss(self.torch.func.functional_call(self.net, params, (x,)), y)


class _Sized(list):
    """Batches with the attributes of a loader that dattri asks for."""

    @property
    def sampler(self):
        return range(sum(len(y) for _, y in self))

    @property
    def dataset(self):
        return self.sampler

    @property
    def batch_size(self):
        return len(self[0][1])


class DattriExplicit(Dattri):
    name = "dattri Explicit"
    only = ("W1", "W5")

    def _attributor(self, module, task):
        return module.IFAttributorExplicit(task, regularization=self.workload.damping)


class DattriCG(Dattri):
    # On W2 it was measured to outgrow 20 GB while it iterates.
    name, slow = "dattri CG", True
    only = ("W1",)

    def _attributor(self, module, task):
        return module.IFAttributorCG(
            task,
            max_iter=min(MAX_ITER, 2 * self.workload.n_parameters),
            tol=RESIDUAL * self.gradient_norm,
            regularization=self.workload.damping,
        )


class Captum(TorchPeer):
    library, module = "captum", "captum"
    name = "captum Naive, full rank"
    only = ("W1", "W2", "W5")

    def run(self):
        nn, n = self.torch.nn, len(self.y)
        losses = {
            "binary": nn.BCEWithLogitsLoss(reduction="sum"),
            "multinomial": nn.CrossEntropyLoss(reduction="sum"),
            "regression": nn.MSELoss(reduction="sum"),
        }
        # The other squared error has no half.
        half = 0.5 if self.workload.kind == "regression" else 1.0
        module = import_module("captum.influence._core.influence_function")
        loader = self.loader(self.batches)
        influence = module.NaiveInfluenceFunction(
            self.net,
            train_dataset=loader,
            checkpoint="",
            checkpoints_load_func=lambda *_: 1.0,
            loss_fn=losses[self.workload.kind],
            hessian_dataset=loader,
            sample_wise_grads_per_batch=True,
            projection_dim=self.workload.n_parameters,
            hessian_reg=n * self.workload.damping / half,
            hessian_inverse_tol=0.0,
        )
        val = self.loader([(self.X_val, self.y_val)])
        one = influence.compute_intermediate_quantities(val, aggregate=True)
        rows = influence.compute_intermediate_quantities(loader)
        psi = rows @ one[0] * (half * n / len(self.y_val))
        return psi.detach().numpy()


class TorchInfluence(TorchPeer):
    library, module, slow = "torch-influence", "torch_influence", True

    def _influence(self, package, **arguments):
        raise NotImplementedError

    def run(self):
        package, outer = import_module("torch_influence"), self

        class Objective(package.BaseObjective):
            def train_outputs(self, model, batch):
                return model(batch[0])

            def train_loss_on_outputs(self, outputs, batch):
                return outer.loss(outputs, batch[1])

            def train_regularization(self, params):
                return params.new_zeros(())

            def test_loss(self, model, params, batch):
                return outer.loss(model(batch[0]), batch[1])

        data = self.torch.utils.data
        loaders = {
            "train_loader": data.DataLoader(
                data.TensorDataset(self.X, self.y), self.batch_rows
            ),
            "test_loader": data.DataLoader(
                data.TensorDataset(self.X_val, self.y_val), len(self.y_val)
            ),
        }
        influence = self._influence(
            package,
            model=self.net,
            objective=Objective(),
            device=self.torch.device("cpu"),
            damp=self.workload.damping,
            **loaders,
        )
        n = len(self.y)
        scores = influence.influences(range(n), range(len(self.y_val)))
        return n * scores.numpy()


class TorchInfluenceAutograd(TorchInfluence):
    name = "torch-influence Autograd"
    only = ("W1", "W2")

    def _influence(self, package, **arguments):
        return package.AutogradInfluenceModule(**arguments)


class TorchInfluenceCG(TorchInfluence):
    name = "torch-influence CG"
    only = ("W1", "W2", "W3")

    def _influence(self, package, **arguments):
        return package.CGInfluenceModule(
            **arguments, gnh=self.workload.network, rtol=RESIDUAL, atol=0.0
        )

    # Of a linear model the two are the same.
    curvature = "gauss_newton"


class PyInfluence(Peer):
    library = module = "pyinfluence"
    name = "pyinfluence"
    only = ("W1", "W5")

    def run(self):
        package, w = import_module("pyinfluence"), self.workload
        mean = package.functionals.mean("losses")
        attributor = package.FunctionalInfluence(mean, damping=w.damping)
        attributor.fit(w.model, w.X, w.y)
        return len(w.y) * attributor.explain(w.X_val, w.y_val)


class StatsmodelsLogit(Peer):
    """Its ``d_params`` is one Newton step without each row, leverage and all."""

    library, module = "statsmodels", "statsmodels"
    name = "statsmodels Logit d_params"
    only = ("W1",)

    def prepare(self, workload):
        super().prepare(workload)
        api = import_module("statsmodels.api")
        self.gradient = criterion_gradient(workload)
        W, b = workload.layers[0]
        A = np.hstack([workload.X, np.ones((len(workload.y), 1))])
        model = api.Logit(workload.y, A)
        self.fitted = model.fit(start_params=np.append(W, b), disp=False)

    def run(self):
        moved = self.fitted.get_influence().d_params
        return len(moved) * (np.asarray(moved) @ -self.gradient)


PEERS = (
    PyDVLDirect,
    PyDVLDirectSingle,
    PyDVLCG,
    PyDVLCGSingle,
    DattriExplicit,
    DattriCG,
    Captum,
    TorchInfluenceAutograd,
    TorchInfluenceCG,
    PyInfluence,
    StatsmodelsLogit,
)


def peers_of(workload, quick=False):
    """The peers that are installed and can do the workload."""
    able = [p for p in PEERS if workload.name in p.only and not (quick and p.slow)]
    return [p() for p in able if p.installed()]


def missing():
    """Names of the libraries that are not installed."""
    return sorted({peer.library for peer in PEERS if not peer.installed()})
