select pg_advisory_xact_lock(hashtext('freshline: roles'));

-- Refuse roles that no right would bind, and a database without Dagster's tables.
do $$
declare
  bad record;
begin
  if to_regclass('event_logs') is null then
    raise exception 'Dagster has no tables in the database % yet', current_database()
      using hint = 'Start the host first, or run `dagster instance migrate` there.';
  end if;
  for bad in
    select r.rolname as name,
      case when r.rolsuper then 'is a superuser'
        when r.oid = d.datdba then 'owns the database'
        when r.oid = c.relowner then 'owns the tables'
        else format('is a member of %I', m.rolname) end as why
    from team
    join pg_roles r on r.rolname = team.role
    join pg_database d on d.datname = current_database()
    join pg_class c on c.oid = to_regclass('event_logs')
    left join pg_auth_members a on a.member = r.oid
    left join pg_roles m on m.oid = a.roleid
    where r.rolsuper or r.oid in (d.datdba, c.relowner) or m.oid in (d.datdba, c.relowner)
      or m.rolsuper or m.rolname in (select role from team)
      or m.rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_database_owner')
  loop
    raise exception 'the role % %, so that no right of a team would bind it', bad.name, bad.why
      using hint = 'Take that away from the role, or rename the location.';
  end loop;
end $$;

-- Make the roles that are missing, and close the database to everybody else.
do $$
declare
  it record;
begin
  for it in select role from team where role not in (select rolname from pg_roles) loop
    execute format('create role %I login', it.role);
  end loop;
  execute format('revoke all on database %I from public', current_database());
  execute format('revoke all on schema %s from public',
    (select relnamespace::regnamespace from pg_class where oid = to_regclass('event_logs')));
end $$;

-- Give each location what is listed, and take away all else.
do $$
declare
  it record;
begin
  for it in
    with place as (select relnamespace as oid from pg_class where oid = to_regclass('event_logs')),
    wanted as (
      select c.oid as id, need.verb
      from need join pg_class c on c.relname = need.name join place on place.oid = c.relnamespace
      union
      -- The numbers of new rows.
      select s.oid, 'usage'
      from need
      join pg_class c on c.relname = need.name
      join place on place.oid = c.relnamespace
      join pg_depend d on d.refobjid = c.oid and d.deptype in ('a', 'i')
      join pg_class s on s.oid = d.objid and s.relkind = 'S'
      where need.verb = 'insert'
    ),
    had as (
      select c.oid as id, team.role, lower(a.privilege_type) as verb
      from pg_class c
      join place on place.oid = c.relnamespace
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
    select format('grant usage on schema %s to %I', place.oid::regnamespace, role)
    from team, place
    where not has_schema_privilege(role, place.oid, 'usage')
    union all
    select format('grant %s on %s to %I', wanted.verb, wanted.id::regclass, team.role)
    from wanted cross join team
    where not exists (select from had
      where (had.id, had.role, had.verb) = (wanted.id, team.role, wanted.verb))
  loop
    execute it.statement;
  end loop;
end $$;
