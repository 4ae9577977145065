"""One module a stage: it reads its files, calls the library, writes its files.

A stage gets every parameter as a plain argument and every path from the command line; so what a
stage depends on is what Snakemake and DVC see, and an edit reruns only the stages that import it.
"""
