do $$
begin
  if current_setting('server_version_num')::int < 140000 then
    raise exception 'this needs Postgres 14 or newer';
  end if;
end $$;

-- Who is no superuser can change what a role owns only as its member.
do $$
declare
  it record;
begin
  for it in select role from team where not pg_has_role(current_user, role, 'usage') loop
    execute format('grant %I to current_user', it.role);
  end loop;
end $$;

-- Who may connect, and make schemas of its own. Nobody writes into public.
do $$
declare
  it record;
begin
  execute format('revoke all on database %I from public', current_database());
  revoke all on schema public from public;
  for it in
    select role from team
    where not has_database_privilege(role, current_database(), 'connect')
      or not has_database_privilege(role, current_database(), 'temporary')
      or not has_database_privilege(role, current_database(), 'create')
  loop
    execute format(
      'grant connect, temporary, create on database %I to %I', current_database(), it.role);
  end loop;
end $$;

-- Make the schemas that are missing, and give each one to its only writer. If there are several, it
-- is the database owner's: the owner of a schema can drop every table in it.
do $$
declare
  it record;
begin
  for it in
    select schema, case when count(*) = 1 then min(role) else 'pg_database_owner' end as owner
    from writer group by schema order by schema
  loop
    if not exists (select from pg_namespace where nspname = it.schema) then
      execute format('create schema %I', it.schema);
    end if;
    if (select pg_get_userbyid(nspowner) from pg_namespace where nspname = it.schema) <> it.owner
    then
      execute format('alter schema %I owner to %I', it.schema, it.owner);
    end if;
  end loop;
  for it in
    select schema, role from writer
    where not has_schema_privilege(role, schema, 'usage')
      or not has_schema_privilege(role, schema, 'create')
  loop
    execute format('grant usage, create on schema %I to %I', it.schema, it.role);
  end loop;
end $$;

-- Give what is in the schemas to who makes it.
do $$
declare
  it record;
begin
  for it in
    with present as (
      select 'table' as kind, c.oid, c.relowner as owner, n.nspname as schema, c.relname as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
        -- The sequence of a column goes with its table.
        and not (c.relkind = 'S' and exists (select from pg_depend
          where classid = 'pg_class'::regclass and objid = c.oid and deptype in ('a', 'i')))
      union all
      select 'routine', p.oid, p.proowner, n.nspname, p.proname
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      union all
      select 'type', t.oid, t.typowner, n.nspname, t.typname
      from pg_type t join pg_namespace n on n.oid = t.typnamespace
      left join pg_class c on c.oid = t.typrelid
      where t.typtype in ('d', 'e', 'r') or c.relkind = 'c'
    ),
    wanted as (
      select present.*, w.role
      from present
      join (select schema, min(role) as role from writer group by schema having count(*) = 1) w
        on w.schema = present.schema
      union all
      -- Beside a table, dbt makes others with its name and an ending.
      select present.*, made.role
      from present
      join made on made.schema = present.schema and present.kind = 'table'
        and (present.name = made.name or starts_with(present.name, made.name || '__dbt_'))
    )
    select * from wanted
    where pg_get_userbyid(owner) <> role
      -- What belongs to an extension stays with it.
      and not exists (select from pg_depend where objid = wanted.oid and deptype = 'e')
    order by schema, name
  loop
    execute case it.kind
      when 'table' then format('alter table %s owner to %I', it.oid::regclass, it.role)
      when 'routine' then format('alter routine %s owner to %I', it.oid::regprocedure, it.role)
      else format('alter type %s owner to %I', it.oid::regtype, it.role) end;
  end loop;
  for it in
    select c.oid::regclass as name, pg_get_userbyid(c.relowner) as owner
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
      and n.nspname in (select schema from writer group by schema having count(*) > 1)
      and pg_get_userbyid(c.relowner) not in (select role from team)
  loop
    raise warning '% is in no contract, and stays with %', it.name, it.owner;
  end loop;
end $$;

-- Take back what was given before, and nobody needs any more.
do $$
declare
  it record;
begin
  for it in
    select format('revoke all on schema %I from %I', n.nspname, team.role) as statement
    from pg_namespace n
    cross join aclexplode(n.nspacl) a
    join team on team.role = pg_get_userbyid(a.grantee)
    where a.grantee <> n.nspowner
      and (n.nspname in (select schema from writer)
        or pg_get_userbyid(n.nspowner) in (select role from team))
      and not exists (select from writer where schema = n.nspname and writer.role = team.role)
      and not (a.privilege_type = 'USAGE' and exists (select from reading
        where schema = n.nspname and reader = team.role))
    union
    select format('revoke all on %s from %I', c.oid::regclass, team.role)
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    cross join aclexplode(c.relacl) a
    join team on team.role = pg_get_userbyid(a.grantee)
    where a.grantee <> c.relowner and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
      and (n.nspname in (select schema from writer)
        or pg_get_userbyid(c.relowner) in (select role from team))
      and not (a.privilege_type = 'SELECT' and exists (select from reading
        where schema = n.nspname and reader = team.role
          and owner = pg_get_userbyid(c.relowner)))
    union
    select format('alter default privileges for role %I%s revoke all on tables from %I',
      maker.role, ' in schema ' || quote_ident(n.nspname), team.role)
    from pg_default_acl d
    left join pg_namespace n on n.oid = d.defaclnamespace
    cross join aclexplode(d.defaclacl) a
    join team on team.role = pg_get_userbyid(a.grantee)
    join team maker on maker.role = pg_get_userbyid(d.defaclrole)
    where d.defaclobjtype = 'r' and team.role <> maker.role
      and not (a.privilege_type = 'SELECT' and exists (select from reading
        where schema = n.nspname and reader = team.role and owner = maker.role))
  loop
    execute it.statement;
  end loop;
end $$;

-- Let the readers read: what is there, and what its owner will make.
do $$
declare
  it record;
begin
  for it in
    select distinct schema, reader from reading where not has_schema_privilege(reader, schema, 'usage')
  loop
    execute format('grant usage on schema %I to %I', it.schema, it.reader);
  end loop;
  for it in select * from reading loop
    execute format('alter default privileges for role %I in schema %I grant select on tables to %I',
      it.owner, it.schema, it.reader);
  end loop;
  for it in
    select c.oid::regclass as name, reading.reader
    from reading
    join pg_namespace n on n.nspname = reading.schema
    join pg_class c on c.relnamespace = n.oid and pg_get_userbyid(c.relowner) = reading.owner
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
      and not has_table_privilege(reading.reader, c.oid, 'select')
  loop
    execute format('grant select on %s to %I', it.name, it.reader);
  end loop;
end $$;
