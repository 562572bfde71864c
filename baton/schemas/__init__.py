"""The edge: what comes in is validated here into frozen values, what goes out is given its wire names here."""
