"""The product graph: what a catalogue's products are to one another, as triples with reasons.

A survey reads the whole catalogue once (facts -> survey -> graph); then each product's edges are
looked up in what is known of all (families, fits, substitutes, bought). Nothing is asked of a
model, so the same catalogue gives the same graph.
"""
