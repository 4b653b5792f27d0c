"""A service in a sandbox like a pod under Kubernetes' "restricted" is profiled, and the result read outside of it."""

import json
import os
import subprocess
import sys
import urllib.request

import pytest
import spprof

APPS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "apps")


@pytest.fixture
def pod(tmp_path):
    """The service in its sandbox; a function that asks it, and the process."""
    volume = tmp_path / "volume"
    volume.mkdir()
    command = [
        sys.executable,
        os.path.join(APPS, "restricted_pod.py"),
        str(volume),
        sys.executable,
        os.path.join(APPS, "order_service.py"),
    ]
    environment = {**os.environ, "SPPROF_AUTOSTART": f"interval_ms=1,output={volume}/%p.speedscope.json"}
    # The sandbox is made by an interpreter that is not profiled itself.
    starter = ["env", "-u", "SPPROF_AUTOSTART", *command[:3], "/usr/bin/env"]
    starter += [f"SPPROF_AUTOSTART={environment['SPPROF_AUTOSTART']}", *command[3:]]
    process = subprocess.Popen(starter, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    port = process.stdout.readline().strip()
    if not port:
        _, errors = process.communicate()
        if process.returncode == 77:
            pytest.skip(f"this kernel does not allow the sandbox: {errors.strip()}")
        raise AssertionError(errors)

    def ask(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return json.load(answer)

    yield ask, process, volume
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def test_a_service_is_profiled_there(pod, tmp_path):
    ask, process, volume = pod
    facts = ask("/facts")
    # That the sandbox is one.
    assert (facts["user"], facts["pid"], facts["root"]) == (65534, 1, "EROFS")
    assert (facts["no_new_privileges"], facts["seccomp"]) == ("1", "2")
    assert facts["capabilities"] == ["0" * 16] * 3
    assert set(facts["refused"].values()) == {"EPERM"}

    for items in (5, 10, 20):
        assert ask(f"/price?items={items}")["total"] > 0
    (tmp_path / "asked.speedscope.json").write_text(json.dumps(ask("/profile")))
    asked = spprof.Profile.load(tmp_path / "asked.speedscope.json")

    process.terminate()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    # Outside, from the volume.
    assert os.listdir(volume) == ["1.speedscope.json"]
    written = spprof.Profile.load(volume / "1.speedscope.json")
    for profile in (asked, written):
        assert profile.interval_ms == 1
        # 35 items of 2 ms each, all of it by the threads of the three requests.
        seconds = sum(
            stack.cpu_ns for stack in profile.aggregate() if "price" in [frame.function_name for frame in stack.frames]
        )
        assert seconds == pytest.approx(70e6, rel=0.1)
