"""A table of odd containers: the options of `docker create`, for what each of them is there."""

from __future__ import annotations

# What each of them is there for, and its options, image and command. {home} is a directory of the test's own.
ODD: dict[str, tuple[str, str]] = {
    "plain": ("nothing but an image", "odd"),
    "bind": ("a bind, read-only", "-v {home}/in:/in:ro odd"),
    "slash": ("a volume whose path ends in a slash", "-v models:/models/ odd"),
    "anonymous": ("a volume without a name", "-v /data odd"),
    "anonymous-slash": ("the same, with a slash at its end", "-v /data/ odd"),
    "mount": ("--mount with a slash, without a source", "--mount type=volume,dst=/scratch/ odd"),
    "mount-options": (
        "--mount with all that it takes",
        "--mount type=volume,src=named,dst=/n,volume-nocopy=true,readonly --mount type=tmpfs,dst=/t,tmpfs-size=1m "
        "--mount type=bind,src={home}/in,dst=/b,bind-propagation=rslave,readonly odd",
    ),
    "driver-options": ("a volume that is a bind by another name", "-v bound:/bound odd"),
    "slave": ("a bind that follows the machine's mounts", "-v {home}/in:/in:rslave odd"),
    "from": ("volumes of another container, with their propagation", "--volumes-from slave odd"),
    "from-read-only": ("the same, read-only", "--volumes-from slave:ro --volumes-from anonymous:ro odd"),
    "tmpfs": ("directories in memory", "--tmpfs /fast:size=1m --shm-size 8m odd"),
    "image-volume": ("volumes that the image declares", "full"),
    "image-settings": ("everything that an image can say", "full"),
    "no-entrypoint": ("an image's entry point switched off", '--entrypoint "" full sleep 99'),
    "own-entrypoint": ("another entry point, without arguments", "--entrypoint sh full"),
    "no-health": ("an image's health check switched off", "--no-healthcheck full"),
    "health": ("one of its own", "--health-cmd true --health-interval 9s --health-retries 2 odd"),
    "words": (
        "words that need quoting",
        """--env "A='b' \\"c\\" \\$d" --env EMPTY= --label "some.label=a b='c'" """
        """--workdir "/work dir" odd sh -c 'echo "$A"'""",
    ),
    "user": ("another user and groups", "--user 12:34 --group-add 5 --group-add 6 odd"),
    "hosts": (
        "names, name servers, a host name of its own",
        "--hostname box --domainname example.org --add-host there:10.9.0.77 --dns 10.9.0.53 --dns-search a.example "
        "--dns-option ndots:2 odd",
    ),
    "lan": (
        "two networks, with addresses, aliases",
        "--network lan --ip 10.9.0.9 --network-alias trainer odd",
    ),
    "host-network": ("the machine's own network", "--network host odd"),
    "no-network": ("none", "--network none odd"),
    "beside": ("the network, processes and memory of another", "--network container:plain --pid container:plain odd"),
    "links": ("links to others by name", "--link plain:store --link bind odd"),
    "ports": ("ports: chosen, random, all", "-p 127.0.0.1:8888:88 -p 53/udp --expose 70-72 -P odd"),
    "limits": (
        "limits of all kinds",
        "--memory 64m --memory-reservation 32m --memory-swap 128m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 "
        "--pids-limit 50 --ulimit nofile=1000:2000 --oom-score-adj 100 --blkio-weight 0 --oom-kill-disable=false odd",
    ),
    "rights": (
        "rights added and dropped",
        "--cap-add SYS_NICE --cap-drop MKNOD --security-opt no-new-privileges --security-opt seccomp=unconfined "
        "--sysctl net.ipv4.ip_unprivileged_port_start=90 --device-cgroup-rule 'c 1:3 rmw' odd",
    ),
    "privileged": ("all rights, and the machine's own namespaces", "--privileged --uts host --ipc host --pid host odd"),
    "devices": ("devices of the machine", "--device /dev/null:/dev/zip:r --device /dev/zero odd"),
    "read-only": ("a root that is read-only, an init process", "--read-only --init odd"),
    "terminal": ("a terminal and an open stdin", "-it odd"),
    "stop": ("a signal and a time of its own to stop", "--stop-signal INT --stop-timeout 60 odd"),
    "logs": ("another log driver, with options", "--log-driver local --log-opt max-size=1m --log-opt max-file=2 odd"),
    "restart": ("a restart policy with a count", "--restart on-failure:7 odd false"),
    "always": ("one that Docker itself would start", "--restart always odd sleep 999"),
    "compose": (
        "labels of compose",
        "--label com.docker.compose.project=demo --label com.docker.compose.service=w odd",
    ),
    "gpu-two": ("two GPUs", "--gpus 2 odd"),
    "gpu-index": ("one GPU, by its index", "--gpus device=0 odd"),
    "gpu-options": ("GPUs with capabilities", '--gpus \'"device=0,1","capabilities=compute,utility"\' odd'),
}
IMAGE = r"""FROM odd
ENV WORDS="it's \"quoted\" \$HOME" EMPTY=
LABEL some.label="a b='c'"
EXPOSE 80/tcp 53/udp
VOLUME ["/data", "/with space"]
WORKDIR /work dir
USER 12:34
STOPSIGNAL SIGINT
SHELL ["/bin/sh", "-e", "-c"]
HEALTHCHECK --interval=9s --retries=2 CMD ["cat", "it's here"]
ONBUILD ENV LATER="x y"
MAINTAINER somebody@example.org
ENTRYPOINT ["sh", "-c", "exec \"$@\"", "--"]
CMD ["sleep", "99"]
"""
