"""What operators see and do: views, console, explanations, advice. Pure: no I/O, no clock."""
