-- Locations may make functions, even in a schema with the name of who runs this. None is meant here
-- (https://wiki.postgresql.org/wiki/A_Guide_to_CVE-2018-1058:_Protect_Your_Search_Path).
set local search_path = pg_catalog, pg_temp;
select pg_advisory_xact_lock(hashtext('freshline: roles'));

-- Refuse roles that no right would bind: by themselves, or by a role that they are members of, also
-- by others in between.
do $$
declare
  bad record;
begin
  for bad in
    with powerful as (
      select r.oid, r.rolname as name, case
        when r.rolsuper then 'is a superuser'
        when r.rolcreaterole then 'can give itself roles'
        when d.oid is not null then 'owns the database' end as why
      from pg_roles r
      left join pg_database d on d.datname = current_database() and d.datdba = r.oid
      where r.rolsuper or r.rolcreaterole or d.oid is not null
      union all
      select oid, rolname, null from pg_roles
      where rolname in (select role from team)
        or rolname in ('pg_read_all_data', 'pg_write_all_data',
          'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
    )
    select r.rolname as name,
      case when p.oid = r.oid then p.why else format('is a member of %I', p.name) end as why
    from team
    join pg_roles r on r.rolname = team.role
    join powerful p on case when p.oid = r.oid then p.why is not null
      -- A superuser counts as a member of everything.
      else not r.rolsuper and pg_has_role(r.oid, p.oid, 'member') end
  loop
    raise exception 'the role % %, so that no right of a team would bind it', bad.name, bad.why
      using hint = 'Take that away from the role, or rename the location.';
  end loop;
end $$;

-- Make the roles that are missing.
do $$
declare
  it record;
begin
  for it in select role from team where role not in (select rolname from pg_roles) loop
    execute format('create role %I login', it.role);
  end loop;
end $$;
