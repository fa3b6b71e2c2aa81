package softhsmtests

import "kmipd/softhsm-tests/internal/message"

// preparations are what a case takes for granted before its first message.
var preparations = map[string][]message.Item{
	// "Locate a Fresh Object from the Default Group": the server holds an unused key in the group "default".
	"TC_151_11_Locate_a_Fresh_Object_from_the_Default_Group": {
		message.CreateAES(256, message.TextAttribute("Object Group", "default")),
	},
}

func prepare(c message.Exchanger, name string) error {
	for _, item := range preparations[name] {
		if _, err := message.Do(c, item); err != nil {
			return err
		}
	}
	return nil
}
