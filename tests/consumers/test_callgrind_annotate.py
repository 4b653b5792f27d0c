"""`callgrind_annotate` reads our callgrind files and comes to the same totals."""

import re
import subprocess

import pytest
from conftest import totals_by_name


@pytest.mark.parametrize("inclusive", [False, True])
def test_it_agrees_to_the_nanosecond(profile, tmp_path, inclusive):
    path = tmp_path / "callgrind.out.1"
    profile.save(path, clock="cpu")
    options = ["--threshold=100", "--show=CPU", "--auto=no", f"--inclusive={'yes' if inclusive else 'no'}"]
    command = ["callgrind_annotate", *options, str(path)]
    # Not where our files are: it lists those below its own folder twice, with the folder and without.
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = re.findall(r"^ *([\d,]+) \([ \d.]+%\)  (.+)$", done.stdout, re.MULTILINE)
    (total,) = (ns for ns, name in rows if name == "PROGRAM TOTALS")
    assert int(total.replace(",", "")) == sum(totals_by_name(profile).values())
    got = {}
    for ns, place in rows[1:]:
        name = place.rsplit(":", 1)[1]
        got[name] = got.get(name, 0) + int(ns.replace(",", ""))
    expected = totals_by_name(profile, whole=inclusive)
    if inclusive:
        assert got.pop("<all threads>") == int(total.replace(",", ""))
    # A function of which it knows nothing but zeros may be there or not.
    assert {name: ns for name, ns in got.items() if ns} == {name: ns for name, ns in expected.items() if ns}
