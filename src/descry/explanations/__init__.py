"""Other people's explanations of the neurons of a run: read, and put to the test beside ours."""
