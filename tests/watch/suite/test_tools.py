import copy
import gc
import io
import os
import pickle
import socket
import warnings
import weakref

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from ledger import keep
from nets import ConvNet, Detached, data, deep_sigmoid, healthy, images, mlp
from torch import nn
from torch.autograd import grad
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


def test_gan():
    torch.manual_seed(0)
    generator, critic = mlp(8, 32, 20), mlp(20, 32, 1, act=nn.LeakyReLU)
    g, d = torch.optim.Adam(generator.parameters()), torch.optim.Adam(critic.parameters())
    real = data()[0]
    for _ in range(4):
        fake = generator(torch.randn(16, 8))
        d.zero_grad()
        loss = F.softplus(critic(fake.detach())).mean() + F.softplus(-critic(real)).mean()
        loss.backward()
        d.step()
        g.zero_grad()
        F.softplus(-critic(fake)).mean().backward()
        g.step()
    keep(loss, generator, critic)


def test_gan_in_one_module():
    class GAN(nn.Module):
        def __init__(self):
            super().__init__()
            self.generator, self.critic = mlp(8, 32, 20), mlp(20, 32, 1, act=nn.LeakyReLU)

        def critic_loss(self, x, z):
            return F.softplus(self.critic(self.generator(z).detach())).mean() + F.softplus(-self.critic(x)).mean()

        def generator_loss(self, z):
            return F.softplus(-self.critic(self.generator(z))).mean()

    torch.manual_seed(0)
    model = GAN()
    for _ in range(3):
        model.zero_grad()
        model.critic_loss(data()[0], torch.randn(16, 8)).backward()
        model.zero_grad()
        model.generator_loss(torch.randn(16, 8)).backward()
    keep(model)


def test_gradient_penalty():
    torch.manual_seed(0)
    critic = mlp(20, 32, 32, 1, act=nn.Tanh)
    x = data()[0].requires_grad_()
    for _ in range(3):
        critic.zero_grad()
        scores = critic(x)
        slope = grad(scores.sum(), x, create_graph=True)[0]
        loss = scores.mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
        loss.backward()
    keep(loss, critic)


def test_forces_inside_forward():
    class Potential(nn.Module):
        def __init__(self):
            super().__init__()
            self.energy = mlp(3, 32, 32, 1, act=nn.Tanh)

        def forward(self, positions):
            energy = self.energy(positions).sum()
            return energy, -torch.autograd.grad(energy, positions, create_graph=True)[0]

    torch.manual_seed(0)
    model = Potential()
    energy, forces = model(torch.randn(8, 3, requires_grad=True))
    loss = energy.square() + (forces - 1).square().mean()
    loss.backward()
    keep(loss, model)


def test_teacher_and_student():
    torch.manual_seed(0)
    teacher, student = healthy().eval(), mlp(20, 16, 5)
    x, _ = data()
    optimiser = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(3):
        with torch.no_grad():
            target = teacher(x).softmax(-1)
        optimiser.zero_grad()
        loss = F.kl_div(student(x).log_softmax(-1), target, reduction="batchmean")
        loss.backward()
        optimiser.step()
    assert all(p.grad is None for p in teacher.parameters())
    keep(loss, student)


def test_teacher_without_no_grad():
    torch.manual_seed(0)
    teacher, student = healthy(), mlp(20, 16, 5)
    x, _ = data()
    for _ in range(3):
        loss = F.mse_loss(student(x), teacher(x).detach())
        loss.backward()
    keep(loss, student)


def test_actor_and_critic():
    torch.manual_seed(0)
    actor, critic = mlp(20, 32, 4, act=nn.Tanh), mlp(20, 32, 1, act=nn.Tanh)
    optimiser = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    state, logs, values = data()[0], [], []
    for _ in range(60):
        policy = torch.distributions.Categorical(logits=actor(state))
        action = policy.sample()
        logs.append(policy.log_prob(action))
        values.append(critic(state).squeeze(-1))
        state = state.roll(1, dims=0)
    advantage = torch.randn(60, 16) - torch.stack(values)
    loss = -(torch.stack(logs) * advantage.detach()).mean() + advantage.square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    keep(loss, actor, critic)


def test_double_q_learning():
    torch.manual_seed(0)
    online = mlp(20, 32, 4)
    target = copy.deepcopy(online)
    x, _ = data()
    for _ in range(3):
        q = online(x).gather(1, torch.randint(4, (16, 1)))
        goal = 0.9 * target(x).max(1, keepdim=True).values.detach() + 1
        loss = F.smooth_l1_loss(q, goal)
        online.zero_grad()
        loss.backward()
    keep(loss, online)


def test_grad_scaler():
    torch.manual_seed(0)
    model = healthy()
    x, y = data()
    scaler, optimiser = torch.amp.GradScaler("cpu"), torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimiser)
        scaler.update()
    keep(loss, model)


def test_grad_scaler_recovers_from_overflow():
    model = healthy()
    x, y = data()
    scaler, optimiser = torch.amp.GradScaler("cpu", init_scale=2.0**20), torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(8):
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
    keep(loss, model)


def test_grad_scaler_overflows_once():
    model = healthy()
    x, y = data()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = F.cross_entropy(model(x * 20), y) * 20
    scaler.scale(loss).backward()
    keep(loss, model)


def test_grad_scaler_hides_a_sick_model():
    model = deep_sigmoid()
    x, y = data()
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(F.cross_entropy(model(x), y)).backward()
    keep(model)


@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not_reentrant"])
@pytest.mark.parametrize("make", [healthy, deep_sigmoid])
def test_checkpointing(make, reentrant):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            layers = make()
            self.first, self.body = layers[:2], layers[2:]

        def forward(self, x):
            return checkpoint(self.body, self.first(x), use_reentrant=reentrant)

    model = Net()
    x, y = data()
    for _ in range(2):
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
    keep(loss, model)


def test_checkpoint_sequential():
    model = healthy()
    x, y = data()
    loss = F.cross_entropy(checkpoint_sequential(model, 2, x, use_reentrant=False), y)
    loss.backward()
    keep(loss, model)


@pytest.mark.parametrize("make", [healthy, deep_sigmoid])
def test_functional_call(make):
    model = make()
    x, y = data()
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    loss = F.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)
    loss.backward()
    assert all(p.grad is None for p in model.parameters())
    keep(loss, *(p.grad for p in weights.values()))


def test_maml():
    model = mlp(20, 32, 5, act=nn.Tanh)
    x, y = data()
    weights = dict(model.named_parameters())
    for _ in range(2):
        inner = F.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)
        slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        weights = {name: w - 0.1 * s for (name, w), s in zip(weights.items(), slopes)}
    outer = F.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outer.backward()
    keep(inner, outer, model)


def test_func_grad_and_vmap():
    model = healthy()
    x, y = data()
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, x, y):
        return F.cross_entropy(torch.func.functional_call(model, weights, (x[None],)), y[None])

    slopes = torch.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, x, y)
    keep(*slopes.values())


def test_jacobian():
    model = mlp(20, 16, 5, act=nn.Tanh)
    x = data()[0][0].requires_grad_()
    keep(torch.autograd.functional.jacobian(model, x), torch.autograd.functional.jacobian(model, x, vectorize=True))
    out = model(x)
    rows = torch.autograd.grad(out, x, torch.eye(5), is_grads_batched=True, retain_graph=True)[0]
    out.square().sum().backward()
    keep(rows, model)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("make", [healthy, deep_sigmoid])
def test_compile(make, backend):
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend(backend)
    model = torch.compile(make(), backend=counter)
    x, y = data()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(4):
        optimiser.zero_grad()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "Guards may run slower")  # torch's own, on Python 3.13.0 alone
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
    assert counter.frame_count == 1
    keep(loss, model)


def test_compiled_step():
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("eager")
    model = healthy()

    @torch.compile(backend=counter)
    def step(x, y):
        return F.cross_entropy(model(x), y)

    for _ in range(3):
        loss = step(*data())
        loss.backward()
    assert counter.frame_count == 1
    keep(loss, model)


def test_compiled_in_place_with_hooks():
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("eager")
    model, seen = ConvNet(), []
    model.conv2.register_forward_hook(lambda module, args, output: seen.append(output.shape) if False else None)
    model.compile(backend=counter)
    x, y = images()
    for _ in range(3):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
    assert counter.frame_count == 1
    keep(loss, model)


@pytest.fixture(scope="module")
def compiled():
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("eager")
    return torch.compile(healthy(), backend=counter), counter


@pytest.mark.parametrize("run", range(3))
def test_compiled_model_of_the_module(compiled, run):
    model, counter = compiled
    loss = F.cross_entropy(model(data()[0]), data()[1])
    loss.backward()
    assert counter.frame_count == 1
    keep(loss, model)


def test_data_parallel():
    model = nn.DataParallel(deep_sigmoid())
    x, y = data()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    keep(loss, model)


@pytest.fixture
def process_group():
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("this torch has no gloo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("make", [healthy, Detached])
def test_distributed(process_group, make):
    model = nn.parallel.DistributedDataParallel(make(), find_unused_parameters=True)
    x, y = data()
    for _ in range(3):
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
    keep(loss, model)


def _work(rank, meeting):
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(healthy())
    x, y = data(seed=rank)
    F.cross_entropy(model(x), y).backward()
    dist.barrier()  # who leaves first must not take the other's connection away
    dist.destroy_process_group()


def test_two_processes(tmp_path):
    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("this torch has no gloo")
    meeting = (tmp_path / "meeting").as_uri()  # a file: no port that another process may take, no server that goes
    torch.multiprocessing.start_processes(_work, args=(meeting,), nprocs=2, start_method="spawn")


class TestLifetime:
    def test_model_dies_when_deleted(self):
        gc.disable()
        try:
            model = healthy()
            x, y = data()
            for _ in range(3):
                F.cross_entropy(model(x), y).backward()
            dead = weakref.ref(model), weakref.ref(model[0].weight)
            del model
            assert [reference() for reference in dead] == [None, None]
        finally:
            gc.enable()

    def test_model_dies_after_a_method(self):
        from nets import VAE

        gc.disable()
        try:
            model = VAE()
            model.loss(data()[0]).backward()
            dead = weakref.ref(model)
            del model
            assert dead() is None
        finally:
            gc.enable()

    def test_activations_die(self):
        gc.disable()
        try:
            model, seen = healthy(), []
            model[0].register_forward_hook(lambda module, args, output: seen.append(weakref.ref(output)))
            loss = model(data()[0]).square().mean()
            loss.backward()
            del loss
            assert [reference() for reference in seen] == [None]
        finally:
            gc.enable()


def test_locals_stay():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = healthy()

        def loss(self, x, y):
            names = locals()
            loss = F.cross_entropy(self.part(x), y)
            assert set(names) >= {"self", "x", "y"}
            return loss

    model = Net()
    model.loss(*data()).backward()
    keep(model)


def test_copies_between_forward_and_backward():
    model = healthy()
    x, y = data()
    loss = F.cross_entropy(model(x), y)
    before = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    loss.backward()
    file = io.BytesIO()
    torch.save(model, file)
    assert b"gradhealth" not in file.getvalue()
    file.seek(0)
    after = copy.deepcopy(model), torch.load(file, weights_only=False)
    for other in (*before, *after):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in other.modules())
        assert not any(p._backward_hooks for p in other.parameters())
        F.cross_entropy(other(x), y).backward()
    keep(loss, model, *before, *after)


def test_no_hooks_on_modules():
    model = healthy()
    x, y = data()
    for _ in range(2):
        F.cross_entropy(model(x), y).backward()
        assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    keep(model)


def test_flop_counter():
    from torch.utils.flop_counter import FlopCounterMode

    model = healthy()
    x, y = data()
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(x), y).backward()
    keep(counter.get_total_flops(), model)


def test_own_dispatch_mode():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            Counter.count += 1
            return function(*args, **(kwargs or {}))

    model = healthy()
    x, y = data()
    loss = F.cross_entropy(model(x), y)
    with Counter():
        loss.backward()
    keep(Counter.count, model)


def test_own_function_mode():
    from torch.overrides import TorchFunctionMode

    class Counter(TorchFunctionMode):
        count = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            Counter.count += 1
            return function(*args, **(kwargs or {}))

    model = healthy()
    x, y = data()
    with Counter():
        F.cross_entropy(model(x), y).backward()
    keep(Counter.count, model)


def test_profiler():
    from torch.profiler import ProfilerActivity, profile

    model = healthy()
    x, y = data()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        F.cross_entropy(model(x), y).backward()
    keep(sum(event.count for event in profiler.key_averages() if event.key.startswith("aten::")), model)


def test_anomaly_mode():
    model = healthy()
    x, y = data()
    with torch.autograd.detect_anomaly(check_nan=True), warnings.catch_warnings():
        F.cross_entropy(model(x), y).backward()
    keep(model)


def test_deterministic_algorithms():
    torch.use_deterministic_algorithms(True)
    try:
        model = ConvNet()
        x, y = images()
        F.cross_entropy(model(x), y).backward()
        keep(model)
    finally:
        torch.use_deterministic_algorithms(False)


def test_warnings_are_errors():
    model = healthy()
    x, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            F.cross_entropy(model(x), y).backward()
    keep(model)


def test_random_numbers_stay():
    torch.manual_seed(11)
    model = nn.Sequential(nn.Linear(20, 64), nn.Dropout(0.5), nn.ReLU(), nn.Linear(64, 5))
    x, y = data()
    for _ in range(5):
        F.cross_entropy(model(x), y).backward()
    keep(model, torch.rand(4))


def test_jit_trace():
    model = healthy()
    x, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, x)
    loss = F.cross_entropy(traced(x), y)
    loss.backward()
    keep(loss, model)


def test_fx():
    model = healthy()
    traced = torch.fx.symbolic_trace(model)
    x, y = data()
    loss = F.cross_entropy(traced(x), y)
    loss.backward()
    assert torch.fx.symbolic_trace(ConvNet()).graph.find_nodes(op="call_module", target="conv1")
    keep(loss, traced)


def test_export():
    program = torch.export.export(healthy(), (data()[0],))
    keep(program.module()(data()[0]))


def test_meta_device():
    with torch.device("meta"):
        model = nn.Linear(20, 5)
        model(torch.randn(2, 20)).sum().backward()
    assert model.weight.grad.is_meta


def test_fake_tensors():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        model = nn.Linear(20, 5)
        model(torch.randn(2, 20)).sum().backward()
        assert model.weight.grad.shape == (5, 20)


def test_gradcheck():
    model = mlp(3, 4, 2, act=nn.Tanh).double()
    assert torch.autograd.gradcheck(model, (torch.randn(2, 3, dtype=torch.double, requires_grad=True),))


def test_nested_tensors():
    layer = nn.Linear(4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ragged = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)], layout=torch.jagged)
        layer(ragged).values().square().sum().backward()
    keep(layer.weight.grad.shape[0])


def test_sparse_embedding():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(50, 16, sparse=True), nn.Flatten(), nn.Linear(64, 5))
    tokens = torch.randint(50, (8, 4))
    loss = F.cross_entropy(model(tokens), torch.randint(5, (8,)))
    loss.backward()
    keep(loss, model[2], model[0].weight.grad.to_dense())


def test_complex_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8, dtype=torch.cfloat), nn.Linear(8, 2, dtype=torch.cfloat))
    loss = model(torch.randn(4, 8, dtype=torch.cfloat)).abs().square().mean()
    loss.backward()
    keep(loss)


def test_error_in_forward_is_expected():
    model = healthy()
    with pytest.raises(RuntimeError):
        model(torch.randn(2, 7))
    x, y = data()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    keep(loss, model)


def test_backward_twice_is_an_error():
    model = healthy()
    loss = model(data()[0]).square().mean()
    loss.backward()
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_frozen_transformer_below_a_head():
    torch.manual_seed(0)
    body = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval().requires_grad_(False)
    head = nn.Linear(16, 5)
    model = nn.Sequential(body, head)
    x, y = torch.randn(8, 6, 16), torch.randint(5, (8,))
    loss = F.cross_entropy(model(x).mean(1), y)
    loss.backward()
    keep(loss, head)


def test_monkeypatched_call(monkeypatch):
    calls, original = [], nn.Module.__call__

    def call(self, *args, **kwargs):
        calls.append(type(self).__name__)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(nn.Module, "__call__", call)
    healthy()(data()[0]).square().mean().backward()
    assert calls == ["Sequential", "Linear", "ReLU", "Linear", "ReLU", "Linear"]


def test_call_is_as_it_was_or_ours():
    name = nn.Module.__call__.__qualname__
    assert "call" in name
    assert len(healthy()(data()[0])) == 16


def test_in_place_operations():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(inplace=True), nn.Linear(32, 5))
    x, y = data()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    keep(loss, model)


def test_transformers_model():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=50
    )
    model = transformers.BertForSequenceClassification(config)
    tokens = torch.randint(50, (4, 10))
    loss = model(input_ids=tokens, labels=torch.tensor([0, 1, 0, 1])).loss
    loss.backward()
    keep(loss, model)


@pytest.mark.skipif(os.environ.get("INDUCTOR") is None, reason="slow: set INDUCTOR=1")
def test_inductor():
    model = torch.compile(healthy())
    x, y = data()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    keep(loss, model)
