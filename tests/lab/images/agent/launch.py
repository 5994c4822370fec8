"""Starts ironic-python-agent as it is, but imports it while the machine still waits for its address.

Importing takes most of the time that the agent needs to come up. Until the file named by the first
argument exists, or the seconds of the second argument are over, the agent itself is not started.
"""

import sys
import time

from ironic_python_agent.cmd import agent

ready, patience = sys.argv[1], float(sys.argv[2])
sys.argv = ['ironic-python-agent', *sys.argv[3:]]
deadline = time.monotonic() + patience
while time.monotonic() < deadline:
    try:
        with open(ready):
            break
    except FileNotFoundError:
        time.sleep(0.05)
sys.exit(agent.run())
