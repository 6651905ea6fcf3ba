import asyncio

import pytest
import torch.nn.functional as F
from ledger import keep
from nets import data, deep_sigmoid

pytest.importorskip("anyio")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test_async():
    model = deep_sigmoid()
    x, y = data()
    loss = F.cross_entropy(model(x), y)
    await asyncio.sleep(0)
    loss.backward()
    keep(loss, model)
