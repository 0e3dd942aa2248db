"""Slurm on this machine, as far as submitit asks for it: sbatch, srun, scontrol, scancel, sacct.

Arrays, requeueing, and signals to all processes of a job; no queue, no limits, no nodes.
"""

import sys
from pathlib import Path

SCRIPT = """
import os, re, signal, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).parent
JOBS = HERE / "jobs"

def said(job):
    return (JOBS / f"{job}.state").read_text()

def say(job, state):
    (JOBS / f"{job}.state").write_text(state)

def sbatch(script):
    (HERE / "submitted").open("a").write(Path(script).read_text())
    if (HERE / "refuse").exists():
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = str(100 + len(list(JOBS.glob("*.job"))))
    (JOBS / f"{number}.job").touch()
    array = re.search("--array=0-([0-9]+)%", Path(script).read_text())
    tasks = [f"{number}_{i}" for i in range(int(array[1]) + 1)] if array else [number]
    for job in tasks:
        say(job, "PENDING")
        if not (HERE / "hold").exists():
            subprocess.Popen([sys.executable, __file__, "slurmd", script, job],
                             stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    print(f"Submitted batch job {number}")

def slurmd(script, job):
    number, _, task = job.partition("_")
    names = dict(SLURM_JOB_ID=number, SLURM_NTASKS="1", SLURM_JOB_NUM_NODES="1")
    names |= dict(SLURM_ARRAY_JOB_ID=number, SLURM_ARRAY_TASK_ID=task) if task else {}
    while said(job) == "PENDING":
        say(job, "RUNNING")
        process = subprocess.Popen(["bash", script], env={**os.environ, **names},
                                   start_new_session=True)
        (JOBS / f"{job}.pid").write_text(str(process.pid))
        code = process.wait()
        if said(job) == "RUNNING":
            say(job, "COMPLETED" if code == 0 else "FAILED")

def srun(*words):
    i = 0
    while words[i].startswith("--"):
        i += 1 if words[i] == "--unbuffered" else 2
    os.execvp(words[i], words[i:])

def scontrol(verb, job):
    assert verb == "requeue"
    say(job, "PENDING")

def scancel(job):
    was = said(job)
    say(job, "CANCELLED")
    if was == "RUNNING":
        os.killpg(int((JOBS / f"{job}.pid").read_text()), signal.SIGTERM)

def sacct(*words):
    print("JobID|State|NodeList")
    for path in JOBS.glob("*.state"):
        print(f"{path.stem}|{path.read_text()}|here")

if __name__ == "__main__":
    name, *words = sys.argv[1:]
    globals()[name](*words)
"""
COMMANDS = ("sbatch", "srun", "scontrol", "scancel", "sacct")


def make_slurm(folder: Path) -> Path:
    """Write the commands to a folder for PATH; `folder/jobs` has a state and a pid of each job."""
    (folder / "jobs").mkdir(parents=True)
    (folder / "slurm.py").write_text(SCRIPT)
    for name in COMMANDS:
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/slurm.py" {name} "$@"\n')
        path.chmod(0o755)
    return folder
