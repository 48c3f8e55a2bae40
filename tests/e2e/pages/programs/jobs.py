"""The jobs of the end-to-end tests, for every page that runs them."""

from world import effect, effects

from durably import Step, job


@job
async def three_steps(step: Step) -> list[int]:
    """Each step's result is how often the world has seen its effect."""
    return [await step.run(name, effect_count, name) for name in ("first", "second", "third")]


@job
async def batches(step: Step, rows: int, size: int) -> int:
    for start in range(0, rows, size):
        await step.run(f"save-{start}", effect, "batch", list(range(start, start + size)))
        step.progress(start + size, rows)
    return rows


@job
async def upserts(step: Step, rows: int) -> int:
    """Every write names its row, so that writing it again changes nothing."""
    for row in range(rows):
        await step.run("upsert", effect, "upsert", {"id": row, "value": row * row}, key=row)
    return rows


@job
async def check_before_act(step: Step) -> int:
    """The step asks the world whether it was done before it does it."""
    return await step.run("charge", charge_once, "order-7")


@job
async def many_steps(step: Step, count: int) -> int:
    for number in range(count):
        await step.run("number", bytes, 500, key=number)
        if number % 50 == 0:
            await step.run("mark", effect_count, "mark", key=number)
    await step.run("end", effect_count, "end")
    return count


async def effect_count(name: str) -> int:
    return (await effect(name))["count"]


async def charge_once(order: str) -> int:
    if not any(body == order for body in await effects("charge")):
        await effect("charge", order)
    return len(await effects("charge"))
