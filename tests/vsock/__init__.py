"""AF_VSOCK tested for real: inside QEMU guests, and between guests and their hosts.

    packages   what the tests need of Debian's packages, installed or unpacked into `.cache/vsock/`
    image      a guest's kernel and initramfs, made from them
    guest      one QEMU process: boots, runs a command on this machine's own files, gives its exit status
    run        `make test-vsock`: the three suites below, each in the guest that it needs
    demo       `make demo-vsock`: a signing service in a guest, called from its host
    bench      VSOCK beside TCP and UNIX sockets in the same guest

    guest_loopback   runs in a guest: both ends over VSOCK loopback (CID 1)
    guest_nested     runs in a guest that is the host of a second one: AF_VSOCK at both ends, between machines
    guest_hybrid     runs on this machine: hybrid vsock at this end, AF_VSOCK in the guest at the other

No test connects an AF_VSOCK socket on the machine itself. Ordinary test runs collect `test_*.py` only: none of these.
"""
