import asyncio
import copy
import threading
import unittest

import pytest
import torch
import torch.nn.functional as F
from ledger import keep
from nets import (
    Block,
    ConvNet,
    Detached,
    LoRA,
    Mixture,
    VAE,
    ViT,
    data,
    deep_sigmoid,
    healthy,
    images,
    mlp,
    zero_init_residual,
)
from torch import nn


def train(model, steps=6, lr=0.05, batch=data, optimiser=torch.optim.SGD, loss=F.cross_entropy):
    x, y = batch()
    optimiser = optimiser(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimiser.step()
        losses.append(value.item())
    keep(*losses, model)
    return losses


def test_training_reduces_loss():
    losses = train(healthy(), steps=20)
    assert losses[-1] < losses[0]


def test_deep_sigmoid_trains_without_error():
    train(deep_sigmoid())


def test_single_backward():
    model = healthy()
    x, y = data()
    F.cross_entropy(model(x), y).backward()
    assert all(p.grad is not None for p in model.parameters())
    keep(model)


def test_detached_encoder_runs():
    train(Detached())


def test_detached_encoder_single_step():
    train(Detached(), steps=1)


class TestClassStyle:
    model = None

    def setup_method(self):
        self.model = ConvNet()

    def test_forward_backward(self):
        train(self.model, batch=images, steps=4)

    def test_without_norm(self):
        train(ConvNet(norm=False), batch=images, steps=4)


class TestUnittestStyle(unittest.TestCase):
    def setUp(self):
        self.model = healthy()

    def test_step(self):
        train(self.model, steps=3)

    def test_sick_step(self):
        train(deep_sigmoid(), steps=2)

    @unittest.skip("not today")
    def test_skipped(self):
        raise AssertionError

    @unittest.expectedFailure
    def test_expected_failure(self):
        train(healthy(), steps=1)
        self.assertTrue(False)

    def test_subtests(self):
        for steps in (1, 2):
            with self.subTest(steps=steps):
                train(healthy(), steps=steps)


class TestIsolatedAsyncio(unittest.IsolatedAsyncioTestCase):
    async def test_awaits_between(self):
        model = healthy()
        x, y = data()
        loss = F.cross_entropy(model(x), y)
        await asyncio.sleep(0)
        loss.backward()
        keep(loss, model)


@pytest.fixture(scope="module")
def shared():
    return healthy()


def test_shared_model_first(shared):
    train(shared, steps=3)


def test_shared_model_again(shared):
    train(shared, steps=3)


@pytest.fixture
def trained():
    model = healthy()
    x, y = data()
    F.cross_entropy(model(x), y).backward()
    return model


def test_model_trained_in_a_fixture(trained):
    assert trained[0].weight.grad.abs().sum() > 0
    keep(trained)


def test_evaluation_only():
    with torch.no_grad():
        keep(deep_sigmoid()(data()[0]))


def test_forward_without_backward():
    out = deep_sigmoid()(data()[0])
    assert out.requires_grad


def test_no_grad_evaluation_between():
    model = healthy()
    x, y = data()
    optimiser = torch.optim.Adam(model.parameters())
    for _ in range(4):
        model.train()
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
        model.eval()
        with torch.no_grad():
            keep(model(x))
    keep(model)


def test_evaluation_with_grad_between():
    model = healthy()
    x, y = data()
    for _ in range(40):
        model(x)
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    keep(loss, model)


def test_gradient_accumulation():
    model = healthy()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        for micro in range(4):
            x, y = data(seed=micro)
            (F.cross_entropy(model(x), y) / 4).backward()
        keep(model)
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)


@pytest.mark.parametrize("when", ["before", "between", "after", "in_place"])
def test_zero_grad_anywhere(when):
    model = healthy()
    x, y = data()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        if when == "before":
            optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if when == "between":
            optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if when == "after":
            model.zero_grad()
        if when == "in_place":
            optimiser.zero_grad(set_to_none=False)
    keep(model)


def test_autograd_grad():
    model = healthy()
    x, y = data()
    grads = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    keep(*grads)
    assert all(p.grad is None for p in model.parameters())


def test_autograd_grad_of_a_sick_model():
    model = deep_sigmoid()
    x, y = data()
    keep(*torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters())))


def test_several_backwards_retain_graph():
    model = healthy()
    x, y = data()
    out = model(x)
    F.cross_entropy(out, y).backward(retain_graph=True)
    out.square().mean().backward(retain_graph=True)
    out.abs().mean().backward()
    keep(model)


def test_two_losses_two_graphs():
    model = healthy()
    x, y = data()
    first, second = F.cross_entropy(model(x), y), F.cross_entropy(model(-x), y)
    first.backward()
    second.backward()
    keep(first, second, model)


def test_lbfgs():
    model = healthy()
    x, y = data()
    optimiser = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)

    def closure():
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    keep(optimiser.step(closure), optimiser.step(closure), model)


def test_clipping():
    model = healthy()
    x, y = data()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1e-9)
        optimiser.step()
        keep(norm, model)


def test_batch_of_one():
    model = healthy()
    x, y = data(samples=1)
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    keep(loss, model)


def test_batch_of_one_in_front_of_batchnorm():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    x, y = images(samples=1, size=5)
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    keep(loss, model)


def test_eval_mode_backward():
    model = ConvNet().eval()
    x, y = images()
    F.cross_entropy(model(x), y).backward()
    keep(model)


@pytest.mark.parametrize("loss", ["mean", "sum"])
@pytest.mark.parametrize(
    "end",
    [nn.LayerNorm(5), nn.BatchNorm1d(5), nn.Softmax(dim=-1), nn.Identity()],
    ids=["layer", "batch", "softmax", "plain"],
)
def test_toy_loss(end, loss):
    model = nn.Sequential(*mlp(20, 32, 5), copy.deepcopy(end))
    getattr(model(data()[0]), loss)().backward()
    assert model[0].weight.grad is not None
    keep(model)


def test_toy_loss_behind_a_functional_softmax():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = healthy()

        def forward(self, x):
            return F.softmax(self.body(x), dim=-1)

    model = Net()
    model(data()[0]).mean().backward()
    keep(model)


@pytest.mark.parametrize("fill", [torch.ones, torch.zeros])
def test_toy_input(fill):
    model = ConvNet(norm=False)
    model(fill(2, 3, 8, 8)).sum().backward()
    keep(model)


def test_loss_of_zero():
    model = healthy()
    x, _ = data()
    out = model(x)
    F.mse_loss(out, out.detach().clone()).backward()
    keep(model)


def test_one_of_two_outputs():
    class TwoHeads(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(2)
            self.body, self.policy, self.value = nn.Linear(20, 32), nn.Linear(32, 5), nn.Linear(32, 1)

        def forward(self, x):
            h = torch.relu(self.body(x))
            return self.policy(h), self.value(h)

    model = TwoHeads()
    x, y = data()
    F.cross_entropy(model(x)[0], y).backward()
    assert model.value.weight.grad is None
    keep(model)


def test_converged_training():
    model = mlp(20, 64, 5)
    losses = train(model, steps=150, lr=0.05, optimiser=torch.optim.Adam)
    assert losses[-1] < 1e-3


def test_dying_relu():
    model = mlp(20, 32, 32, 32, 5)
    train(model, steps=8, lr=100.0, loss=lambda out, y: F.mse_loss(out, F.one_hot(y, 5).float()))


def test_zero_init_residual_one_step():
    train(zero_init_residual(), steps=1)


class Policy(nn.Module):
    """An actor that returns a distribution, and a critic."""

    def __init__(self):
        super().__init__()
        self.body, self.actor, self.critic = nn.Linear(8, 16), nn.Linear(16, 4), nn.Linear(16, 1)

    def forward(self, x):
        x = self.body(x).relu()
        return torch.distributions.Categorical(logits=self.actor(x)), self.critic(x)


def test_one_of_two_outputs_that_is_a_distribution():
    model = Policy()
    F.mse_loss(model(torch.randn(8, 8))[1], torch.randn(8, 1)).backward()
    keep(model)


def test_known_numbers():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    output = model(torch.ones(1, 3))
    assert output.item() == 2.5
    output.sum().backward()
    keep(model)


def test_vit_with_zero_head_one_step():
    train(ViT(), steps=1, batch=images)


def test_vit_with_zero_head():
    train(ViT(), steps=4, batch=images, optimiser=torch.optim.AdamW, lr=1e-3)


def test_lora_one_step():
    torch.manual_seed(0)
    train(nn.Sequential(LoRA(nn.Linear(20, 32)), nn.ReLU(), LoRA(nn.Linear(32, 5))), steps=1)


def test_mixture_of_experts():
    train(Mixture(), steps=4)


def test_nan_in_training():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.fc1, self.fc2 = nn.Linear(20, 32), nn.Linear(32, 5)

        def forward(self, x):
            h = self.fc1(x)
            return self.fc2(torch.where(h > 0, torch.sqrt(h), h))

    train(Net(), steps=2)


def test_exploding():
    model = mlp(20, *[32] * 12, 5)
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim > 1:
                p.mul_(10)
    train(model, steps=1)


def test_constant_initialisation():
    model = healthy()
    for p in model.parameters():
        nn.init.constant_(p, 0.1)
    train(model, steps=3)


def test_unused_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.used, self.forgotten = nn.Linear(20, 5), nn.Linear(20, 5)

        def forward(self, x):
            return self.used(x)

    train(Net())


def test_unused_layer_frozen():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.used, self.spare = nn.Linear(20, 5), nn.Linear(20, 5).requires_grad_(False)

        def forward(self, x):
            return self.used(x)

    train(Net())


def test_backward_in_another_thread():
    model = deep_sigmoid()
    x, y = data()
    loss = F.cross_entropy(model(x), y)
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    keep(loss, model)


def test_two_threads_train():
    models = [healthy(), healthy()]

    def work(model):
        x, y = data()
        for _ in range(5):
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keep(*models)


def test_methods_instead_of_forward():
    torch.manual_seed(0)
    model = VAE()
    optimiser = torch.optim.Adam(model.parameters())
    for _ in range(3):
        optimiser.zero_grad()
        loss = model.loss(data()[0])
        loss.backward()
        optimiser.step()
    keep(loss, model)


def test_layers_called_one_by_one():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(deep_sigmoid()[::2])

        def loss(self, x, y):
            for layer in self.layers:
                x = torch.sigmoid(layer(x))
            return F.cross_entropy(x, y)

    model = Deep()
    loss = model.loss(*data())
    loss.backward()
    keep(loss, model)


def test_part_of_a_model():
    model = VAE()
    model.encoder(data()[0]).square().mean().backward()
    assert model.decoder[0].weight.grad is None
    keep(model)


def test_forward_called_directly():
    model = Detached()
    x, y = data()
    loss = F.cross_entropy(model.forward(x), y)
    loss.backward()
    keep(loss, model)


def test_lazy_modules():
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyLinear(32), nn.ReLU(), nn.LazyLinear(5))
    x, y = data()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    keep(loss, model)


def test_recurrent_cell_by_hand():
    torch.manual_seed(0)
    cell, head = nn.GRUCell(20, 16), nn.Linear(16, 5)
    x, y = data()
    h = torch.zeros(16, 16)
    for _ in range(30):
        h = cell(x, h)
    loss = F.cross_entropy(head(h), y)
    loss.backward()
    keep(loss, cell, head)


def test_blocks_shared():
    block = Block(20)
    model = nn.Sequential(block, block, nn.Linear(20, 5))
    train(model, steps=3)
