package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"kmipd/hsm"
)

// runFsck compares token and records. It exits 0 when all is well (after --repair: when all has been mended), else 1.
func runFsck(ctx context.Context, s streams, args []string) (err error) {
	f := flags(s, "fsck")
	c := &source{}
	var repair, asJSON bool
	f.BoolVar(&repair, "repair", false, "destroy token objects without a record, and settle interrupted operations")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	c.define(f)
	if err := parse(f, args, 0); err != nil {
		return err
	}
	if err := c.load(); err != nil {
		return err
	}
	if c.TokenModule == "" {
		c.TokenModule = hsm.FindModule()
	}
	if errs := c.checkToken(); c.DataDir == "" || len(errs) > 0 {
		if c.DataDir == "" {
			errs = append(errs, errors.New("data_dir is not set: name the configuration with --config or --dir"))
		}
		return errors.Join(errs...)
	}
	c.LogLevel = "warn"
	log := c.logger(s)
	meta, err := c.openRecords(log, nil)
	if err != nil {
		return fmt.Errorf("%w (kmipd fsck needs the server to be stopped)", err)
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	token, err := c.openToken(ctx, s, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, token.Close(context.WithoutCancel(ctx))) }()
	keys, err := c.keystore(meta, token, log)
	if err != nil {
		return err
	}
	rep, err := keys.Fsck(ctx, repair)
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(s, rep)
	} else {
		fmt.Fprintf(s.out, "%d records, %d token objects\n", rep.Records, rep.Objects)
		for _, l := range []struct {
			what string
			list []string
		}{{"token objects without a record", rep.Orphans}, {"records without their token object", rep.Missing},
			{"CKA_IDs that stand twice", rep.Duplicates}, {"unsettled operations", rep.Unsettled},
			{"damaged records, or audit trail", rep.Damaged}, {"token objects with another label", rep.Drifted},
			{"keys whose flags on the token are not their record's", rep.Flags},
			{"changes that the audit trail tells of and the records do not have", rep.Lost}, {"repaired", rep.Repaired}} {
			if len(l.list) > 0 {
				fmt.Fprintf(s.out, "%s:\n  %s\n", l.what, strings.Join(l.list, "\n  "))
			}
		}
		if rep.Broken > 0 {
			fmt.Fprintf(s.out, "broken token objects: %d\n", rep.Broken)
		}
		if rep.Foreign > 0 {
			fmt.Fprintf(s.out, "token objects that are not kmipd's: %d (left alone)\n", rep.Foreign)
		}
		if rep.Clean() {
			fmt.Fprintln(s.out, "all is well")
		}
	}
	if err == nil && !rep.Clean() {
		return exitCode(1)
	}
	return err
}
