"""What Snakemake and DVC need to know: params, the DAG, forecasts."""
