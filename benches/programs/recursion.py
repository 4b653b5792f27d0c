"""Calls and nothing but calls: the stack changes all the time and is a dozen frames deep."""


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def work() -> None:
    fibonacci(17)
