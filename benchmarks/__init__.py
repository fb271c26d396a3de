"""What the gate and the template cost, as ratios against peers, measured side by side in one run.

make bench                                  everything; some minutes, on a quiet machine
python -m benchmarks --only notes           one part
python -m benchmarks --quick                whether it runs at all; its figures mean nothing
"""
