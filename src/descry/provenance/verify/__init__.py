"""Verification: does every result follow from its inputs, from the reviews to the labels?"""
