"""Where a run happens: devices and replicas, cores, files, the terminal."""
