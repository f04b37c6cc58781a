"""What every command shares: the folder, the lock, the recorded run, phases, going on, progress."""
