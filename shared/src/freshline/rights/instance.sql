-- Refuse roles that own Dagster's tables.
do $$
declare
  bad record;
begin
  for bad in
    select team.role from team, place join pg_class c on c.oid = place.events
    where pg_has_role(team.role, c.relowner, 'member')
  loop
    raise exception 'the role % owns Dagster''s tables, so that no right of a team would bind it',
      bad.role using hint = 'Give the tables to the host''s role, or rename the location.';
  end loop;
end $$;

-- Close the database to everybody else.
do $$
begin
  execute format('revoke all on database %I from public', current_database());
  execute format('revoke all on schema %s from public',
    (select relnamespace::regnamespace from pg_class, place where oid = events));
end $$;

-- Give each location what is listed, and take away all else.
do $$
declare
  it record;
begin
  for it in
    with home as (select relnamespace as oid from pg_class, place where pg_class.oid = events),
    wanted as (
      select c.oid as id, need.verb
      from need join pg_class c on c.relname = need.name join home on home.oid = c.relnamespace
      union
      -- The numbers of new rows.
      select s.oid, 'usage'
      from need
      join pg_class c on c.relname = need.name
      join home on home.oid = c.relnamespace
      join pg_depend d on d.refobjid = c.oid and d.deptype in ('a', 'i')
      join pg_class s on s.oid = d.objid and s.relkind = 'S'
      where need.verb = 'insert'
    ),
    had as (
      select c.oid as id, team.role, lower(a.privilege_type) as verb
      from pg_class c
      join home on home.oid = c.relnamespace
      cross join aclexplode(c.relacl) a
      join team on team.role = pg_get_userbyid(a.grantee)
    )
    select format('revoke %s on %s from %I', had.verb, had.id::regclass, had.role) as statement
    from had
    where (had.id, had.verb) not in (select id, verb from wanted)
    union all
    select format('grant connect on database %I to %I', current_database(), role)
    from team
    where not has_database_privilege(role, current_database(), 'connect')
    union all
    select format('grant usage on schema %s to %I', home.oid::regnamespace, role)
    from team, home
    where not has_schema_privilege(role, home.oid, 'usage')
    union all
    select format('grant %s on %s to %I', wanted.verb, wanted.id::regclass, team.role)
    from wanted cross join team
    where not exists (select from had
      where (had.id, had.role, had.verb) = (wanted.id, team.role, wanted.verb))
  loop
    execute it.statement;
  end loop;
end $$;

-- In the table of keys and values, a location writes only what is its own. The owner, which is the
-- host, is not bound by that.
do $$
declare
  prefix text := (select own.prefix from own);
  kept regclass := (
    select kvs.oid
    from place
    join pg_class events on events.oid = place.events
    join pg_class kvs on kvs.relnamespace = events.relnamespace and kvs.relname = 'kvs'
  );
begin
  if kept is null then
    return;
  end if;
  execute format('alter table %s enable row level security', kept);
  execute format('drop policy if exists freshline_reads on %s', kept);
  execute format('drop policy if exists freshline_writes on %s', kept);
  execute format('drop policy if exists freshline_rewrites on %s', kept);
  execute format('create policy freshline_reads on %s for select using (true)', kept);
  execute format('create policy freshline_writes on %s for insert with check (starts_with(key, %L))',
    kept, prefix);
  execute format('create policy freshline_rewrites on %1$s for update using (starts_with(key, %2$L))'
    ' with check (starts_with(key, %2$L))', kept, prefix);
end $$;
