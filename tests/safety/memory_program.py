"""A program for checkers of memory (`tools/sanitize.py`): everything that the extension does, a few times over.

It uses nothing of pytest, because under valgrind each import takes seconds.
"""

import os
import tempfile
import threading
import warnings

import spprof


def busy(number):
    return sum(value * value for value in range(number))


def churn(round_number):
    """Code objects that are born, sampled and freed."""
    for number in range(20):
        name = f"made_{round_number}_{number}"
        namespace = {}
        exec(compile(f"def {name}(n):\n    return sum(range(n))\n{name}(300)", f"{name}.py", "exec"), namespace)
        namespace.clear()


def one_session(round_number, folder):
    spprof.start(interval_ms=2, output_path=os.path.join(folder, f"{round_number}.collapsed"))
    threads = [threading.Thread(target=busy, args=(20_000,), name=f"worker-{number}") for number in range(3)]
    for thread in threads:
        thread.start()
    churn(round_number)
    spprof.pause()
    spprof.resume()
    spprof.snapshot().top(5)
    for thread in threads:
        thread.join()
    assert spprof.stats().collected_samples > 0
    child = os.fork() if round_number == 0 else None
    if child == 0:
        os._exit(0 if not spprof.is_active() else 1)
    if child:
        assert os.waitpid(child, 0)[1] == 0
    return spprof.stop()


def main():
    # From 3.12 on Python warns of a fork in a process with several threads.
    warnings.simplefilter("ignore", DeprecationWarning)
    with tempfile.TemporaryDirectory() as folder:
        for round_number in range(5):
            profile = one_session(round_number, folder)
            path = os.path.join(folder, "profile.speedscope.json")
            profile.save(path)
            again = spprof.Profile.load(path)
            assert again.sample_count == profile.sample_count
            for sample in profile.samples:
                assert all(frame.filename for frame in sample.frames)
            profile.to_speedscope()
            profile.to_collapsed()
            profile.aggregate()
            try:
                spprof.Profile.load(os.path.join(folder, f"{round_number}.collapsed"), format="speedscope")
            except (ValueError, TypeError):
                pass
    print("done")


if __name__ == "__main__":
    main()
