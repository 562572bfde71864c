"""The stores behind `core.ports.Store`: one file on disk (`sqlite`) or a MongoDB (`mongo`), and their migrations."""
