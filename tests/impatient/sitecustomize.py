"""Snakemake looks at jobs of Slurm often: its plug-in looks after 1 s, 12 s, 33 s, 64 s, ..."""

import asyncio

MOST = 0.5  # seconds
sleep = asyncio.sleep
asyncio.sleep = lambda seconds, *result: sleep(min(seconds, MOST), *result)
