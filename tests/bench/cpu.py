"""CPU time of whole families of processes: on a machine that others use, too, it says more of what a job
costs than the clock does."""

import os

TICKS = os.sysconf("SC_CLK_TCK")


def stat_of(pid):
    """(parent, ticks of the process, ticks of its children that have ended), or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])


def family_us(pid):
    """Microseconds that a process and all below it have worked, those that have ended included."""
    found = {int(name): stat_of(name) for name in os.listdir("/proc") if name.isdigit()}
    found = {one: stat for one, stat in found.items() if stat}
    family, grew = {pid} & found.keys(), True
    while grew:
        more = {one for one, stat in found.items() if stat[0] in family} - family
        family, grew = family | more, bool(more)
    return sum(found[one][1] + found[one][2] for one in family) * 1_000_000 / TICKS


def ran_ns(pid):
    """Nanoseconds that a process has run on a CPU, with all its threads."""
    folder, total = f"/proc/{pid}/task", 0
    try:
        for thread in os.listdir(folder):
            with open(f"{folder}/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
    except OSError:
        return 0
    return total
