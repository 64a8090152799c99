"""The program that runs a Python plugin inside its sandbox. `__main__` documents how it is started.

wire      lines on the socket, both directions
loading   from `main.py` to an instance and its handlers
dispatch  what each message of the service does
invoke    one call, from its function to its answer
logs      `logging` to `log` notifications
"""
