import subprocess
from pathlib import Path


def test_descriptors_are_current():
    subprocess.run([Path(__file__).parents[1] / "generate", "--check"], check=True)
