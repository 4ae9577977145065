"""One module for each stage: it reads its files, calls the library, and writes its files.

A stage gets every parameter as an argument and every path from the command line. So Snakemake and
DVC see everything that a stage depends on, and an edit reruns only the stages that import it.
"""
