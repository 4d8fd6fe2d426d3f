"""The machine: devices and replicas, cores, files, the terminal."""
