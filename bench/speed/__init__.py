"""How fast, how much, how long: this code against the limit of the device and the usual loop."""
