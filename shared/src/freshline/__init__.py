"""One lineage over many Dagster code locations: keys, contracts, freshness across boundaries.

A code location imports all that it needs from here. `__init__.pyi` lists the names; each one is
documented where it is defined. A name is loaded on first use, so that the command line and the
planner start without Dagster, and a location without a dbt project does not need dbt.

Which module answers which question:

    names            what are the keys, tags and metadata called that freshline puts into Dagster?
    declared         what is written on an asset, or in a dbt manifest, and in whose notation?
    errors           what can go wrong, and which error is raised then?
    garbage          when is Python's garbage collector only in the way?
    json_values      how are times written in JSON?
    words            how do messages write durations, times and names?
    keys             which key does a table have?
    metadata         is what an asset tells freshline in its metadata usable?
    policy           what can a policy ask for, and where does an asset carry it?
    model            what does the planner work on, in which units, and what does None mean?
    planner/         what starts now, what waits, for which target, and why?
    history/         what does the event log say: runs, versions and their data times, durations?
    simulate/        what would these policies cost, and would they hold?
    contract/        what does a location make and need, and how do other locations read it?
    status/          how is it written down how targets stand, and where do sensors write it?
    stamp            what does a step write on what it makes: data time and lag?
    airbyte          what are the assets of an Airbyte stream?
    dbt/             what are the assets of a dbt project, how are they built, what do they read?
    compare/         what differs between two contracts, and does it break a reader?
    rights/          what may each location do in the warehouse, and in Dagster's database?
    workspace/       which locations are there, and what does the code of each define?
    check/           do the contracts of all locations fit together? (the gate and its rules)
    settings         which convention and which rules does a workspace ask the gate for?
    impact/          which assets does a change reach?
    serving/         which processes serve a location, and how does one take another's place?
    report/          did the promises hold over time, what broke them, what did that cost?
    standards/       how do standards write a contract, and the gate's findings?
    sensor/          what does a location do at each tick: plan, request, report?
    engine/          who makes the runs, and what becomes of one whose maker is gone?
    deploying/       may a release be served, and how does it take the place of another?
    lookout          how does a process see what sensors see, for as long as it runs?
    overview         how do all targets stand now, and why has an asset not run?
    log              what was requested, why, and what became of it?
    metrics/         what does Prometheus scrape?
    notify/          who is told when a promise breaks, and when it is kept again?
    location         what does `with_freshline` add to a location?
    component        how does a dg project get that from YAML?
    cli/             how are these questions asked from a terminal?

A module imports only from those above it in this list: see pyproject.toml.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
