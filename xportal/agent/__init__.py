"""The program on the machine: opens the drive at boot, brings the containers back, saves everything.

Standard library only, Python 3.9, and nothing from outside this package. It has two
rooms. `core` travels in the machine's user data, which take no more; `full` follows
with the first login of `up` (see `xportal.machine.userdata`). The core alone opens the
drive and the home directory, looks for AWS's notice, and unmounts; Docker and all that
comes after it are the full agent's. The core knows `full` through `core.extensions` alone.

What the rest of xportal may rely on:

Files
    /opt/xportal/agent          the command: runs the full agent if it is there, else the core
    /opt/xportal/agent.pyz      the core
    /opt/xportal/agent-whole    link to the full agent's directory, once it has come
    /etc/xportal/agent.json     `core.config.AgentConfig`, mode 0600
    /etc/xportal/keys/USER      the machine's own login keys, which sshd takes beside those in ~/.ssh
    /run/xportal/state.json     phase, error and facts of this boot
    /run/xportal/log/ID.jsonl   event logs: ID is `boot`, or the id of a save
    /var/lib/xportal/saved.json exists once this machine has finished a final save
    /xportal/v1                 the whole drive, for root; at MOUNT, /v1, `core.covers` hides some of it
    .xportal/                   on the drive, root's: drive.json, running.json, aside.json, gpu.json, commits.json,
                                alone.json: `full.settings.Settings`, what the user has set;
                                spec.json: {file, digest, text} of the spec that the portal was brought up with;
                                reserve: space that a full drive is opened with;
                                save.json: how the last machine's save went, until the next has told it
    MOUNT/xportal-notice.json   for programs: {action, time, seconds}, from a notice until the drive is opened again

Commands (`status` and `follow` need no root, but the full agent; the others need root)
    agent open                  at every boot, from cloud-init's bootcmd
    agent ready                 Docker and containers, by the full agent: the unit xportal-finish.service once it
                                has come, and xportal-ready.service when the machine boots again
    agent save ID --kind final [--grace SECONDS] [--attended]
                                starts xportal-save@ID.service and returns at once. Attended, the machine takes the
                                snapshot itself and powers off unless it is ended within two minutes of the save's end
    agent freeze ID             starts xportal-freeze@ID.service: the drives hold still until `agent thaw`, 30 s at most
    agent thaw                  the freeze at work is over
    agent home                  the unit xportal-home.service, before sshd starts: the login user's home
    agent settings JSON         change some of `full.settings.Settings`
    agent try-role              one JSON object, {error}: why the machine could take no snapshot by itself, or null
    agent keep-spec             keep what comes on stdin, {file, digest, text}, as the portal's spec
    agent spec                  prints what is kept of it; null if nothing is
    agent rehearse ID           the save as at a notice, as a unit with a log; then everything comes back
    agent watch, agent leave    the units xportal-watch.service and xportal-leave.service (when it is stopped by a
                                shutdown): saves that nobody asks for; their ids are notice-..., shutdown and idle
    agent follow boot|ID [--from N]
                                prints the log's lines from the N-th on (the first is 0) as they
                                come; exits 0 after the end line, 1 if the writer died without one
    agent status                one JSON object:
        {phase, error, portal, launch, gpu, docker, drives, containers, leaving, settings}
        phase       opening | open | ready | saving | saved | failed
        error       null, or a sentence
        gpu         null, or the name of the first GPU
        docker      null, or the version of its daemon
        drives      [{name, volume_id, device, mount, generation, size_bytes, used_bytes}]; sizes null if unmounted
        containers  [{id, name, running, gpu, note, warnings: [sentences on what it writes off the drives]}]
        leaving     null, or of a save that is at work or was made {why, time}: notice (and when AWS takes the machine),
                    idle, shutdown, rehearsal (everything comes back), down
        settings    `full.settings.Settings` as they are on the drive; null if they are not read

Event logs
    One JSON object a line. {"t": seconds since the log began, "step": "mount", "text": "a sentence"}.
    The last line is {"t", "end": true, "ok": bool, "error": null or a sentence, "result": {}}.
    The first line has one more key, "clock", the machine's monotonic clock.
    Result of `boot`: {drives, gpu, docker, containers, before: save.json, seconds: {step: s}}.
    Result of a final save: {already, committed, deferred, faults, killed, seconds}, and of one that nobody asked for
    {snapshots: {drive: id}}; of a rehearsal also {took, steps, back}.
    A freeze says step "frozen" when nothing is written any more; its result is {in_time, seconds}.
    `ok` of a save means that every drive was unmounted wherever it was mounted: a
    snapshot taken now holds everything, and this machine will write to it no more.
    Otherwise `error` says what stood in the way, also in the list `faults`: a snapshot
    taken now is a checkpoint, and that of the detached volume will be the final one. A
    second save of a saved machine ends at once, `ok`, with `already` true.

Promises
    mkfs only on a device that the launch calls blank and `blkid -p` finds nothing on.
    Docker never starts unless the drive is mounted and covered, and its containers fit the machine.
    After a final save nothing on this machine mounts the drive again, across reboots too.
    The login user's home is the drive's, or nobody can write to it.
    Every step of a save has a limit: what hangs in the kernel is left behind.
    The log's process holds no file of the drive; run it from `/`, since a login
    shell in the home directory does hold it and is ended by a save.
"""
