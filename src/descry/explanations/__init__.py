"""Other people's explanations of the neurons of a run: read, and tested beside its labels."""
