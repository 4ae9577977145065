"""Activations of the target model, and each neuron's exemplars."""
