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


@job
async def approval(step: Step, timeout: float) -> object:
    """Asks the world, waits for its answer, and does what it says."""
    wait = await step.prepare_wait("approval", timeout=timeout)
    await step.run("ask", effect_count, "ask")
    result = await step.wait_for(wait)
    await step.run("publish", effect_count, "publish")
    return "timed out" if result.timed_out else result.payload


@job
async def side_by_side(step: Step) -> dict[str, int]:
    return await step.all(
        left=lambda: effect_count("left"),
        middle=lambda: effect_count("middle"),
        right=lambda: effect_count("right"),
    )


@job
async def priced(step: Step) -> int:
    async def call() -> int:
        await step.set_metadata({"cost": 3})
        return await effect_count("call")

    return await step.run("call", call)


async def effect_count(name: str) -> int:
    return (await effect(name))["count"]


async def charge_once(order: str) -> int:
    if not any(body == order for body in await effects("charge")):
        await effect("charge", order)
    return len(await effects("charge"))
