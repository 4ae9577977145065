"""N2G, Neuron to Graph (Foote et al. 2023): what a neuron responds to, as a graph of tokens.

Of each text that excites the neuron the shortest part is kept that still does (prune), every token
of it is masked in turn (saliency), important words are replaced by others (augment), and what is
important becomes the paths of a trie that says for any text where the neuron fires (trie, predict,
scoring). `explain` does all of it for many neurons of a layer at a time.
"""
