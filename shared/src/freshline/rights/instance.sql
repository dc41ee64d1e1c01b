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
