//! Calls: functions, aggregates, window functions, and those with a grammar of their own.

use datafusion::sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
};
use glaredb_engine::query::parser::fold_identifier;

use super::{
    super::{
        tree::{Call, Node, SublinkKind, Syntax, Ty},
        types::{self, TEXT, UNKNOWN},
    },
    Analysis,
    expressions::{fields, keyword, literal, sublink},
    queries::sort_key,
};

impl Analysis<'_> {
    pub(super) fn function(&mut self, function: &ast::Function) -> Option<Node> {
        let name = fold_identifier(function.name.0.last()?.as_ident()?);
        let list = match &function.args {
            FunctionArguments::Subquery(query) => {
                let mut query = Box::new(self.query(query)?);
                self.texts(&mut query);
                let ty = query.targets.first()?.node.ty();
                let array = types::element(ty.oid)
                    .map_or_else(|| types::array_of(ty.oid), |_| Some(ty.oid));
                return Some(sublink(SublinkKind::Array, query, Ty::of(array?)));
            }
            FunctionArguments::None => {
                return keyword(&name, None).or_else(|| self.call_named(&name, Vec::new()));
            }
            FunctionArguments::List(list) => list,
        };
        let (mut args, mut names, mut star) = (Vec::new(), Vec::new(), false);
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(self.expr(expr)?),
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => star = true,
                FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                    let ident = name.0.last()?.as_ident()?;
                    args.push(self.whole_row(None, &fold_identifier(ident))?);
                }
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. }
                | FunctionArg::ExprNamed {
                    name: ast::Expr::Identifier(name),
                    arg: FunctionArgExpr::Expr(expr),
                    ..
                } => {
                    names.push(fold_identifier(name));
                    args.push(self.expr(expr)?);
                }
                _ => return None,
            }
        }
        if let Some(node) = self.grammar_of_its_own(&name, function, &args)? {
            return Some(node);
        }
        let mut call = self.call(&name, args, names)?;
        call.star = star;
        call.distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
        for clause in &list.clauses {
            let FunctionArgumentClause::OrderBy(items) = clause else { return None };
            self.order_within(&mut call, items)?;
        }
        if !function.within_group.is_empty() {
            call.within_group = true;
            self.order_within(&mut call, &function.within_group)?;
            self.ordered_set_type(&mut call);
        }
        if let Some(filter) = &function.filter {
            call.filter = Some(Box::new(self.condition(filter)?));
        }
        if let Some(over) = &function.over {
            call.over = Some(self.over(over)?);
        }
        Some(Node::Call(Box::new(call)))
    }

    fn order_within(&mut self, call: &mut Call, items: &[ast::OrderByExpr]) -> Option<()> {
        for item in items {
            let node = self.expr(&item.expr)?;
            call.order_by.push(sort_key(item, self.decided(node), 0));
        }
        Some(())
    }

    /// The type of an aggregate over ordered values is often theirs.
    fn ordered_set_type(&self, call: &mut Call) {
        let Some(key) = call.order_by.first() else { return };
        let of = key.node.ty().oid;
        let many = call.args.first().is_some_and(|arg| types::element(arg.ty().oid).is_some());
        let array = |oid| if many { types::array_of(oid) } else { Some(oid) };
        let oid = match call.name.as_str() {
            "mode" => Some(of),
            "percentile_disc" => array(of),
            "percentile_cont" => {
                let of = if of == types::INTERVAL { of } else { 701 };
                if let Some(key) = call.order_by.first_mut() {
                    key.node = self.implied(key.node.clone(), of);
                }
                array(of)
            }
            _ => None,
        };
        if let Some(oid) = oid {
            call.ty = Ty::of(oid);
        }
    }

    /// What is written as a call, but is an expression with a meaning of its own; `None`: not
    /// known, `Some(None)`: it is a call.
    fn grammar_of_its_own(
        &mut self,
        name: &str,
        function: &ast::Function,
        args: &[Node],
    ) -> Option<Option<Node>> {
        let schema = function.name.0.len() > 1;
        if schema {
            return Some(None);
        }
        let digits = |args: &[Node]| match args {
            [Node::Const { value: Some(digits), .. }] => digits.parse().ok(),
            _ => None,
        };
        Some(Some(match name {
            "coalesce" => {
                let (args, ty) = self.unified(args.to_vec())?;
                Node::Coalesce { args, ty }
            }
            "greatest" | "least" => {
                let (args, ty) = self.unified(args.to_vec())?;
                Node::Extreme { greatest: name == "greatest", args, ty }
            }
            "nullif" => {
                let [left, right] = args else { return None };
                let of = left.ty();
                let Node::Op { args, .. } = self.operator("=", left.clone(), right.clone())? else {
                    return None;
                };
                let ty = if of.oid == UNKNOWN { args[0].ty() } else { of };
                Node::NullIf { ty, args }
            }
            "grouping" => Node::Grouping(args.to_vec()),
            "row" => {
                let fields = args.iter().cloned().map(|arg| self.decided(arg)).collect();
                Node::Row { fields, ty: None }
            }
            "current_time" | "current_timestamp" | "localtime" | "localtimestamp" => {
                keyword(name, digits(args))?
            }
            "current_schema" if args.is_empty() => return Some(None),
            _ => return Some(None),
        }))
    }

    /// A call by name with plain arguments.
    pub(super) fn call_named(&self, name: &str, args: Vec<Node>) -> Option<Node> {
        // A type's name over one value is a cast, where no function has it.
        if let [arg] = args.as_slice()
            && types::functions_named(name).iter().all(|f| f.args != [arg.ty().oid])
            && let Some(oid) = types::builtin_type_oid(name)
            && (arg.ty().oid == UNKNOWN || types::conversion(arg.ty().oid, oid, 'e').is_some())
        {
            return self.cast(arg.clone(), Ty::of(oid), 'e');
        }
        Some(Node::Call(Box::new(self.call(name, args, Vec::new())?)))
    }

    fn call(&self, name: &str, args: Vec<Node>, names: Vec<String>) -> Option<Call> {
        let actual: Vec<u32> = args.iter().map(|arg| arg.ty().oid).collect();
        let (args, ty, set, aggregate) = match names.is_empty() {
            true => match types::function(name, &actual, false) {
                Some(chosen) => {
                    let fit = args.into_iter().zip(&chosen.args);
                    let args: Vec<Node> = fit.map(|(arg, ty)| self.implied(arg, *ty)).collect();
                    (
                        args,
                        Ty::of(chosen.result),
                        chosen.signature.returns_set,
                        chosen.signature.kind == 'a',
                    )
                }
                // Of ordered sets: the values are arguments, too.
                None => {
                    let found = types::functions_named(name).first()?;
                    let args = args.into_iter().map(|arg| match arg.ty().oid {
                        UNKNOWN => arg,
                        _ if name.starts_with("percentile")
                            && types::element(arg.ty().oid).is_none() =>
                        {
                            self.implied(arg, 701)
                        }
                        _ => arg,
                    });
                    (args.collect(), Ty::of(found.result), found.returns_set, found.kind == 'a')
                }
            },
            false => {
                let found = types::functions_named(name);
                let has = |f: &&types::Signature| {
                    names.iter().all(|name| f.names.iter().any(|known| known == name))
                };
                let found = found.iter().find(has)?;
                let first = args.len() - names.len();
                let place = |(at, _): (usize, &Node)| match at.checked_sub(first) {
                    None => Some(at),
                    Some(n) => found.names.iter().position(|known| *known == names[n]),
                };
                let places: Option<Vec<usize>> = args.iter().enumerate().map(place).collect();
                let fit = args.into_iter().zip(places?);
                let args = fit.map(|(arg, at)| match found.args.get(at) {
                    Some(ty) => self.implied(arg, *ty),
                    None => arg,
                });
                (args.collect(), Ty::of(found.result), found.returns_set, false)
            }
        };
        Some(Call {
            name: name.to_owned(),
            args,
            names,
            ty,
            returns_set: set,
            syntax: None,
            variadic: false,
            star: false,
            distinct: false,
            order_by: Vec::new(),
            within_group: false,
            filter: None,
            is_aggregate: aggregate,
            over: None,
        })
    }

    fn with_syntax(&self, name: &str, args: Vec<Node>, syntax: Syntax) -> Option<Node> {
        let mut call = self.call(name, args, Vec::new())?;
        call.syntax = Some(syntax);
        Some(Node::Call(Box::new(call)))
    }

    pub(super) fn overlaps(&mut self, left: &ast::Expr, right: &ast::Expr) -> Option<Node> {
        let mut args = self.exprs(fields(left)?)?;
        args.extend(self.exprs(fields(right)?)?);
        self.with_syntax("overlaps", args, Syntax::Overlaps)
    }

    /// EXTRACT, TRIM and the other calls with a grammar of their own.
    pub(super) fn special(&mut self, expr: &ast::Expr) -> Option<Node> {
        use ast::Expr as E;
        let text = |value: &str| Node::Const { value: Some(value.to_owned()), ty: Ty::of(TEXT) };
        match expr {
            E::Extract { field, expr, .. } => {
                let field = field.to_string().trim_matches(['\'', '"']).to_lowercase();
                let value = self.expr(expr)?;
                self.with_syntax("extract", vec![text(&field), value], Syntax::Extract)
            }
            E::Ceil { expr: inner, .. } => {
                let value = self.expr(inner)?;
                self.call_named("ceil", vec![value])
            }
            E::Floor { expr: inner, .. } => {
                let value = self.expr(inner)?;
                self.call_named("floor", vec![value])
            }
            E::Position { expr, r#in } => {
                let (part, whole) = (self.expr(expr)?, self.expr(r#in)?);
                self.with_syntax("position", vec![whole, part], Syntax::Position)
            }
            E::Substring { expr, substring_from, substring_for, special, .. } => {
                let mut args = vec![self.expr(expr)?];
                match (substring_from, substring_for) {
                    (None, Some(length)) => {
                        args.push(literal(&ast::Value::Number("1".to_owned(), false))?);
                        let length = self.expr(length)?;
                        args.push(self.cast(length, Ty::of(types::INT4), 'e')?);
                    }
                    (from, length) => {
                        for part in from.iter().chain(length) {
                            args.push(self.expr(part)?);
                        }
                    }
                }
                // By a pattern, it is a plain call.
                let by_place =
                    args.get(1).is_some_and(|from| matches!(from.ty().oid, types::INT4 | 20 | 21));
                match *special || !by_place {
                    true => self.call_named("substring", args),
                    false => self.with_syntax("substring", args, Syntax::Substring),
                }
            }
            E::Trim { trim_where, trim_what, expr, trim_characters } => {
                let (name, syntax) = match trim_where {
                    Some(ast::TrimWhereField::Leading) => ("ltrim", Syntax::TrimLeading),
                    Some(ast::TrimWhereField::Trailing) => ("rtrim", Syntax::TrimTrailing),
                    _ => ("btrim", Syntax::TrimBoth),
                };
                let mut args = vec![self.expr(expr)?];
                for what in trim_what
                    .iter()
                    .map(|what| what.as_ref())
                    .chain(trim_characters.iter().flatten())
                {
                    args.push(self.expr(what)?);
                }
                self.with_syntax(name, args, syntax)
            }
            E::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args =
                    vec![self.expr(expr)?, self.expr(overlay_what)?, self.expr(overlay_from)?];
                if let Some(length) = overlay_for {
                    args.push(self.expr(length)?);
                }
                self.with_syntax("overlay", args, Syntax::Overlay)
            }
            E::AtTimeZone { timestamp, time_zone } => {
                let (value, zone) = (self.expr(timestamp)?, self.expr(time_zone)?);
                self.with_syntax("timezone", vec![zone, value], Syntax::AtTimeZone)
            }
            E::IsNormalized { expr, form, negated } => {
                let mut args = vec![self.expr(expr)?];
                args.extend(form.as_ref().map(|form| text(&form.to_string())));
                let node = self.with_syntax("is_normalized", args, Syntax::IsNormalized)?;
                Some(if *negated { Node::Not(Box::new(node)) } else { node })
            }
            _ => None,
        }
    }
}
