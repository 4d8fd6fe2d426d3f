"""How a plan is made where memory is short, and where several hosts train."""

import json

import pytest
import tensorflow as tf

from tests.support.plans import TIMING
from tfclust.runtime.full_memory import FullMemory
from tfclust.training.planning import plan

GIVEN = {"data": "digits:", "backbone": "small"}
HOSTS = {"worker": ["127.0.0.1:2001", "127.0.0.1:2002"]}


@pytest.fixture
def memory(monkeypatch):
    """A memory of so many images of a batch; the batches that were tried."""
    tried = []

    def set_to(rows):
        def measure(recipe, *of_plan):
            tried.append(recipe.run.batch_size)
            if recipe.run.batch_size > rows:
                raise tf.errors.ResourceExhaustedError(
                    None, None, "OOM when allocating tensor with shape[64,9]"
                )
            return TIMING

        monkeypatch.setattr(plan, "measure", measure)
        return tried

    return set_to


def test_a_batch_is_halved_until_memory_takes_it(memory):
    tried = memory(rows=20)
    made = plan.make(GIVEN, minutes=5.0, say=lambda words: None)
    assert tried == [64, 32, 16]
    assert made.recipe.run.batch_size == 16
    assert "did not fit" in made.settings["batch_size"].why


@pytest.mark.parametrize("given", [{"epochs": 1}, {"steps": 9}])
@pytest.mark.parametrize("method", ["swav", "coke"])
def test_a_short_run_that_is_asked_for_has_a_plan(memory, method, given):
    memory(rows=64)
    given = {**GIVEN, "method": method, **given}
    made = plan.make(given, minutes=5.0, say=lambda words: None)
    assert made.total_steps == given.get("steps", 1433 // 64)
    assert made.recipe.optimizer.warmup_epochs == 0.0


@pytest.mark.parametrize("given", [{}, {"batch_size": 64}])
def test_a_memory_that_takes_no_batch_ends_in_a_sentence(memory, given):
    memory(rows=15)
    with pytest.raises(FullMemory, match="Give --batch_size="):
        plan.make({**GIVEN, **given}, minutes=5.0, say=lambda words: None)


def test_several_hosts_are_given_one_plan(monkeypatch):
    task = {"type": "worker", "index": 0}
    config = json.dumps({"cluster": HOSTS, "task": task})
    monkeypatch.setenv("TF_CONFIG", config)
    monkeypatch.delattr(plan.images, "open_images")
    with pytest.raises(ValueError, match="env -u TF_CONFIG python -m"):
        plan.make(GIVEN, minutes=5.0)
