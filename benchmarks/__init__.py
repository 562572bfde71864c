"""Measurements. Each program prints what it measured on this machine; none is a test."""
