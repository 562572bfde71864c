"""What tests of Baton, and of anything built on its ports, stand on: fakes, samples and the stores' contract.

Ships with the package, so that a third store or bridge can be held to the same rules. pytest and Hypothesis are
imported by the contract modules only; the fakes need nothing beyond Baton itself.
"""
