"""Planets that attract each other: floats and lists in one long loop."""

BODIES = [
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 39.5],
    [[4.84, -1.16, -0.10], [0.61, 2.81, -0.02], 0.0377],
    [[8.34, 4.12, -0.40], [-1.01, 1.82, 0.008], 0.0113],
    [[12.9, -15.1, -0.22], [1.08, 0.87, -0.01], 0.0017],
    [[15.4, -25.9, 0.18], [0.98, 0.59, -0.03], 0.0020],
]
PAIRS = [(one, other) for number, one in enumerate(BODIES) for other in BODIES[number + 1 :]]


def advance(step: float) -> None:
    for (place, speed, mass), (place2, speed2, mass2) in PAIRS:
        x, y, z = (a - b for a, b in zip(place, place2))
        pull = step / (x * x + y * y + z * z) ** 1.5
        for axis, distance in enumerate((x, y, z)):
            speed[axis] -= distance * mass2 * pull
            speed2[axis] += distance * mass * pull
    for place, speed, _ in BODIES:
        for axis in range(3):
            place[axis] += step * speed[axis]


def work() -> None:
    for _ in range(60):
        advance(0.001)
