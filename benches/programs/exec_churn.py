"""Code objects that are made, run once and thrown away."""

SOURCE = "def f(x):\n    y = 0\n    for i in range(20):\n        y += i * x\n    return y\nresult = f({n})\n"


def work() -> None:
    for n in range(60):
        exec(compile(SOURCE.format(n=n), "<generated>", "exec"), {})
