"""What the gate and the template cost, as ratios against peers, measured side by side in one run.

make bench                       everything; some minutes, on a quiet machine
make bench ARGS="--only notes"   one part; --only may be given several times
make bench ARGS="--quick"        whether it runs at all; its figures mean nothing
"""
